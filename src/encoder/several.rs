//! Encoders of the same weights in threads of their own, on one device or on several, that share every batch.
//!
//! A device has two of them, which take batches in turn: while one waits for the features of a batch,
//! the other one has handed the device the next. So the device never waits for pictures to be copied
//! or for features to be fetched. The price is a second copy of the weights.

use std::cell::Cell;

use super::device::workers::{self, Worker, WorkerError};
use super::preprocess::Preprocess;
use super::{Encoder, EncoderError, Underway};

/// Makes an encoder, in the thread that will use it.
pub type Make = workers::Make<dyn Encoder, EncoderError>;

/// See the [module](self).
pub struct Several {
    id: String,
    dimensions: usize,
    preprocess: Preprocess,
    /// Those of a team stand side by side.
    workers: Vec<Worker<dyn Encoder>>,
    /// Workers in a team.
    team: usize,
    /// Which team's turn it is.
    next: Cell<usize>,
}

impl Several {
    /// Starts a worker for each of `makes`, which all make the same encoder, and waits until they have. Of each
    /// `team` of them all share a batch; teams take batches in turn.
    ///
    /// # Errors
    ///
    /// The first worker's that has one; when the makes give different encoders.
    pub fn new(makes: Vec<Make>, team: usize) -> Result<Self, EncoderError> {
        let workers = workers::start("encode", makes)?;
        let mut described = Vec::new();
        for worker in &workers {
            described.push(worker.ask(describe).wait()?);
        }
        let (id, dimensions, preprocess) = described.first().cloned().ok_or(WorkerError::Ended)?;
        if let Some((found, ..)) = described.into_iter().find(|(other, ..)| *other != id) {
            let expected = id;
            return Err(EncoderError::NotAsRecorded { expected, found });
        }
        Ok(Several {
            id,
            dimensions,
            preprocess,
            team: team.clamp(1, workers.len()),
            workers,
            next: Cell::new(0),
        })
    }

    /// The workers that get the next batch.
    fn next_team(&self) -> &[Worker<dyn Encoder>] {
        let first = self.next.get() * self.team;
        self.next
            .set((self.next.get() + 1) % (self.workers.len() / self.team));
        &self.workers[first..first + self.team]
    }
}

/// What a worker tells of its encoder.
fn describe(encoder: &(dyn Encoder + 'static)) -> (String, usize, Preprocess) {
    (
        encoder.id().to_owned(),
        encoder.dimensions(),
        encoder.preprocess().clone(),
    )
}

impl Encoder for Several {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    fn encode(&self, pictures: &[&[u8]]) -> Result<Vec<f32>, EncoderError> {
        let pictures = pictures.iter().map(|picture| picture.to_vec());
        self.begin(pictures.collect())?.get()
    }

    fn begin(&self, pictures: Vec<Vec<u8>>) -> Result<Underway, EncoderError> {
        let team = self.next_team();
        let share = pictures.len().div_ceil(team.len());
        let mut rest = pictures.into_iter();
        let mut answers = Vec::new();
        for worker in team {
            let pictures: Vec<Vec<u8>> = rest.by_ref().take(share).collect();
            if pictures.is_empty() {
                break;
            }
            answers.push(worker.ask(move |encoder| {
                let pictures: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
                encoder.encode(&pictures)
            }));
        }
        Ok(Underway::begun(move || {
            let mut features = Vec::new();
            for answer in answers {
                features.extend(answer.wait()??);
            }
            Ok(features)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives each picture its first byte, on the device that it is told of.
    struct Marked {
        id: String,
        preprocess: Preprocess,
        fails_from: u8,
    }

    impl Encoder for Marked {
        fn id(&self) -> &str {
            &self.id
        }

        fn dimensions(&self) -> usize {
            1
        }

        fn preprocess(&self) -> &Preprocess {
            &self.preprocess
        }

        fn encode(&self, pictures: &[&[u8]]) -> Result<Vec<f32>, EncoderError> {
            if pictures[0][0] >= self.fails_from {
                return Err(tch::TchError::Torch("the device is gone".to_owned()).into());
            }
            Ok(pictures
                .iter()
                .map(|picture| f32::from(picture[0]))
                .collect())
        }
    }

    fn make(id: &str, fails_from: u8) -> Make {
        let mut preprocess = Preprocess::torchvision_vgg16();
        preprocess.crop = 32;
        let encoder = Marked {
            id: id.to_owned(),
            preprocess,
            fails_from,
        };
        Box::new(move || Ok(Box::new(encoder)))
    }

    fn pictures(values: std::ops::Range<u8>) -> Vec<Vec<u8>> {
        values.map(|value| vec![value; 3]).collect()
    }

    fn encode(several: &Several, values: std::ops::Range<u8>) -> Result<Vec<f32>, EncoderError> {
        let pictures = pictures(values);
        several.encode(&pictures.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn features_come_in_the_order_of_the_pictures() {
        let several = Several::new((0..6).map(|_| make("one", 255)).collect(), 3).unwrap();
        assert_eq!((several.id(), several.dimensions()), ("one", 1));
        for count in [0, 1, 2, 3, 4, 8, 64] {
            let expected: Vec<f32> = (0..count).map(f32::from).collect();
            let found = encode(&several, 0..count).unwrap();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn batches_that_are_under_way_together_are_not_mixed_up() {
        let several = Several::new(vec![make("one", 255), make("one", 255)], 1).unwrap();
        let begin = |values: std::ops::Range<u8>| several.begin(pictures(values)).unwrap();
        let (first, second, third) = (begin(0..3), begin(5..6), begin(7..9));
        assert_eq!(third.get().unwrap(), [7.0, 8.0]);
        drop(second);
        assert_eq!(first.get().unwrap(), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn a_device_that_fails_is_told_and_mixes_up_nothing() {
        let several = Several::new(vec![make("one", 255), make("one", 10)], 2).unwrap();
        let error = encode(&several, 0..20).unwrap_err();
        assert!(matches!(error, EncoderError::Device(_)), "{error}");
        assert_eq!(encode(&several, 0..4).unwrap(), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn encoders_that_differ_are_refused() {
        let error = Several::new(vec![make("one", 255), make("two", 255)], 1)
            .err()
            .unwrap();
        assert!(error.to_string().contains("two"), "{error}");
    }

    #[test]
    fn an_encoder_that_cannot_be_made_says_why() {
        let broken: Make = Box::new(|| {
            Err(EncoderError::WrongPixels {
                picture: 1,
                found: 2,
            })
        });
        let error = Several::new(vec![make("one", 255), broken], 2)
            .err()
            .unwrap();
        assert!(matches!(error, EncoderError::WrongPixels { .. }), "{error}");
    }
}
