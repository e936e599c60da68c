//! One encoder on each of several devices, each in a thread of its own, that share every batch.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::preprocess::Preprocess;
use super::{Encoder, EncoderError};

/// Makes the encoder of one device, in the thread that will use it.
pub type Make = Box<dyn FnOnce() -> Result<Box<dyn Encoder>, EncoderError> + Send>;

/// See the [module](self).
pub struct Several {
    id: String,
    dimensions: usize,
    preprocess: Preprocess,
    workers: Vec<Worker>,
}

/// A thread with a device. It ends when nothing can come any more.
struct Worker {
    batches: Option<Sender<Vec<u8>>>,
    features: Receiver<Result<Vec<f32>, EncoderError>>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker tells of its encoder.
type Described = (String, usize, Preprocess);

impl Several {
    /// Starts a worker for each of `makes`, which all make the same encoder, and waits until they have.
    ///
    /// # Errors
    ///
    /// The first worker's that has one; when the makes give different encoders.
    pub fn new(makes: Vec<Make>) -> Result<Self, EncoderError> {
        let started: Vec<_> = makes
            .into_iter()
            .enumerate()
            .map(|(index, make)| Worker::start(index, make))
            .collect::<Result<_, _>>()?;
        let mut workers = Vec::new();
        let mut first: Option<Described> = None;
        for (worker, described) in started {
            let described = described.recv().unwrap_or(Err(EncoderError::WorkerEnded))?;
            match &first {
                Some(first) if first.0 != described.0 => {
                    return Err(EncoderError::NotAsRecorded {
                        expected: first.0.clone(),
                        found: described.0,
                    });
                }
                Some(_) => {}
                None => first = Some(described),
            }
            workers.push(worker);
        }
        let (id, dimensions, preprocess) = first.ok_or(EncoderError::WorkerEnded)?;
        Ok(Several {
            id,
            dimensions,
            preprocess,
            workers,
        })
    }
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

    fn encode(&self, pixels: &[u8]) -> Result<Vec<f32>, EncoderError> {
        let count = self.preprocess.pictures(pixels)?;
        let picture = pixels.len() / count;
        let share = count.div_ceil(self.workers.len());
        let busy: Vec<_> = self
            .workers
            .iter()
            .zip(pixels.chunks(share * picture))
            .collect();
        for (worker, pixels) in &busy {
            let sent = worker
                .batches
                .as_ref()
                .map(|batches| batches.send(pixels.to_vec()));
            if !matches!(sent, Some(Ok(()))) {
                return Err(EncoderError::WorkerEnded);
            }
        }
        // Every answer is waited for, even after a failure: the next batch's must not be taken for it.
        let answers: Vec<_> = busy
            .iter()
            .map(|(worker, _)| {
                worker
                    .features
                    .recv()
                    .unwrap_or(Err(EncoderError::WorkerEnded))
            })
            .collect();
        let mut features = Vec::with_capacity(count * self.dimensions);
        for answer in answers {
            features.extend(answer?);
        }
        Ok(features)
    }
}

impl Worker {
    fn start(
        index: usize,
        make: Make,
    ) -> Result<(Self, Receiver<Result<Described, EncoderError>>), EncoderError> {
        let (batches, received) = bounded::<Vec<u8>>(1);
        let (answers, features) = bounded(1);
        let (describes, described) = bounded(1);
        let work = move || {
            let encoder = match make() {
                Ok(encoder) => encoder,
                Err(error) => {
                    let _ = describes.send(Err(error));
                    return;
                }
            };
            let description = (
                encoder.id().to_owned(),
                encoder.dimensions(),
                encoder.preprocess().clone(),
            );
            let _ = describes.send(Ok(description));
            for pixels in received {
                if answers.send(encoder.encode(&pixels)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("encode {index}"))
            .spawn(work)
            .map_err(EncoderError::NoWorker)?;
        let worker = Worker {
            batches: Some(batches),
            features,
            thread: Some(thread),
        };
        Ok((worker, described))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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

        fn encode(&self, pixels: &[u8]) -> Result<Vec<f32>, EncoderError> {
            if pixels[0] >= self.fails_from {
                return Err(tch::TchError::Torch("the device is gone".to_owned()).into());
            }
            Ok(pixels
                .chunks(32 * 32 * 3)
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

    fn pictures(values: std::ops::Range<u8>) -> Vec<u8> {
        values.flat_map(|value| vec![value; 32 * 32 * 3]).collect()
    }

    #[test]
    fn features_come_in_the_order_of_the_pictures() {
        let several = Several::new((0..3).map(|_| make("one", 255)).collect()).unwrap();
        assert_eq!((several.id(), several.dimensions()), ("one", 1));
        for count in [1, 2, 3, 4, 8, 64] {
            let expected: Vec<f32> = (0..count).map(f32::from).collect();
            assert_eq!(several.encode(&pictures(0..count)).unwrap(), expected);
        }
    }

    #[test]
    fn a_device_that_fails_is_told_and_mixes_up_nothing() {
        let several = Several::new(vec![make("one", 255), make("one", 10)]).unwrap();
        let error = several.encode(&pictures(0..20)).unwrap_err();
        assert!(matches!(error, EncoderError::Device(_)), "{error}");
        assert_eq!(
            several.encode(&pictures(0..4)).unwrap(),
            [0.0, 1.0, 2.0, 3.0]
        );
    }

    #[test]
    fn encoders_that_differ_are_refused() {
        let error = Several::new(vec![make("one", 255), make("two", 255)])
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
        let error = Several::new(vec![make("one", 255), broken]).err().unwrap();
        assert!(matches!(error, EncoderError::WrongPixels { .. }), "{error}");
    }
}
