//! Captioners of the same weights, each on a device and in a thread of its own, that share every batch.

use super::{Attention, Beam, Captioner, CaptionerError, Decoding};
use crate::encoder::device::workers::{self, Worker, WorkerError};

/// Makes a captioner, in the thread that will use it.
pub type Make = workers::Make<dyn Captioner, CaptionerError>;

/// See the [module](self).
pub struct Several {
    id: String,
    dimensions: usize,
    workers: Vec<Worker<dyn Captioner>>,
}

impl Several {
    /// Starts a worker for each of `makes`, which all make the same captioner, and waits until they have.
    ///
    /// # Errors
    ///
    /// The first worker's that has one; when the makes give different captioners.
    pub fn new(makes: Vec<Make>) -> Result<Self, CaptionerError> {
        let workers = workers::start("caption", makes)?;
        let mut described = Vec::new();
        for worker in &workers {
            described.push(worker.ask(describe).wait()?);
        }
        let (id, dimensions) = described.first().cloned().ok_or(WorkerError::Ended)?;
        if let Some((found, _)) = described.into_iter().find(|(other, _)| *other != id) {
            let expected = id;
            return Err(CaptionerError::NotAsRecorded { expected, found });
        }
        Ok(Several {
            id,
            dimensions,
            workers,
        })
    }
}

/// What a worker tells of its captioner.
fn describe(captioner: &(dyn Captioner + 'static)) -> (String, usize) {
    (captioner.id().to_owned(), captioner.dimensions())
}

impl Captioner for Several {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn caption(
        &self,
        features: &[f32],
        decoding: &Decoding,
    ) -> Result<Vec<Vec<Beam>>, CaptionerError> {
        self.check(features)?;
        let pictures = features.len() / self.dimensions;
        let share = pictures.div_ceil(self.workers.len()).max(1) * self.dimensions;
        let answers: Vec<_> = self
            .workers
            .iter()
            .zip(features.chunks(share))
            .map(|(worker, share)| {
                let (features, decoding) = (share.to_vec(), *decoding);
                worker.ask(move |captioner| captioner.caption(&features, &decoding))
            })
            .collect();
        let mut beams = Vec::with_capacity(pictures);
        for answer in answers {
            beams.extend(answer.wait()??);
        }
        Ok(beams)
    }

    fn attention(
        &self,
        features: &[f32],
        caption: &str,
    ) -> Result<Option<Attention>, CaptionerError> {
        let (features, caption) = (features.to_vec(), caption.to_owned());
        let first = self.workers.first().ok_or(WorkerError::Ended)?;
        let answer = first.ask(move |captioner| captioner.attention(&features, &caption));
        answer.wait()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captions each picture by its only feature.
    struct Naming(&'static str);

    impl Captioner for Naming {
        fn id(&self) -> &str {
            self.0
        }

        fn dimensions(&self) -> usize {
            1
        }

        fn caption(
            &self,
            features: &[f32],
            decoding: &Decoding,
        ) -> Result<Vec<Vec<Beam>>, CaptionerError> {
            let beam = |feature: &f32| Beam {
                caption: feature.to_string(),
                log_prob: 0.0,
                tokens: decoding.max_tokens as i32,
                score: 0.0,
                finished: true,
            };
            Ok(features.iter().map(|feature| vec![beam(feature)]).collect())
        }

        fn attention(
            &self,
            features: &[f32],
            caption: &str,
        ) -> Result<Option<Attention>, CaptionerError> {
            Ok(Some(vec![(caption.to_owned(), features.to_vec())]))
        }
    }

    fn make(id: &'static str) -> Make {
        Box::new(move || Ok(Box::new(Naming(id))))
    }

    const DECODING: Decoding = Decoding {
        beam: 1,
        max_tokens: 7,
        length_penalty: 0.0,
    };

    #[test]
    fn captions_come_in_the_order_of_the_features() {
        let several = Several::new(vec![make("one"), make("one"), make("one")]).unwrap();
        assert_eq!((several.id(), several.dimensions()), ("one", 1));
        for count in [0, 1, 2, 3, 4, 64] {
            let features: Vec<f32> = (0..count).map(|number| number as f32).collect();
            let found = several.caption(&features, &DECODING).unwrap();
            let expected: Vec<String> = features.iter().map(f32::to_string).collect();
            let found: Vec<String> = found
                .into_iter()
                .map(|beams| beams[0].caption.clone())
                .collect();
            assert_eq!(found, expected);
        }
        let attention = several.attention(&[0.5], "a").unwrap();
        assert_eq!(attention, Some(vec![("a".to_owned(), vec![0.5])]));
    }

    #[test]
    fn captioners_that_differ_or_cannot_be_made_are_refused() {
        let error = Several::new(vec![make("one"), make("two")]).err().unwrap();
        assert!(error.to_string().contains("two"), "{error}");
        let broken: Make = Box::new(|| {
            Err(CaptionerError::WrongFeatures {
                dimensions: 4,
                found: 3,
            })
        });
        let error = Several::new(vec![make("one"), broken]).err().unwrap();
        assert!(
            matches!(error, CaptionerError::WrongFeatures { .. }),
            "{error}"
        );
    }
}
