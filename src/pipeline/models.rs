//! What a run computes with: an encoder and a captioner, read when the first image needs them.
//!
//! On most nights nothing is new, and then no weights are read at all. For that their ids have to be
//! known beforehand; what is read later is held against them.

use std::cell::OnceCell;

use crate::captioner::{Attention, Beam, Captioner, CaptionerError, Decoding};
use crate::encoder::preprocess::Preprocess;
use crate::encoder::{Encoder, EncoderError, Underway};
use crate::table::Identity;

/// What a run computes with.
pub struct Models {
    pub encoder: Box<dyn Encoder>,
    /// Absent where only features are wanted.
    pub captioner: Option<(Box<dyn Captioner>, Decoding)>,
}

impl Models {
    /// What rows of this run say they were made with.
    pub fn identity(&self) -> Identity {
        let (captioner_id, decoding) = match &self.captioner {
            Some((captioner, decoding)) => (captioner.id().to_owned(), decoding.to_json()),
            None => Default::default(),
        };
        Identity {
            encoder_id: self.encoder.id().into(),
            captioner_id: captioner_id.into(),
            decoding: decoding.into(),
        }
    }
}

/// Reads a model's weights. Called once at most.
pub type Load<T, E> = Box<dyn Fn() -> Result<Box<T>, E> + Send>;

/// An encoder that is read when the first picture comes.
pub struct DeferredEncoder {
    id: String,
    dimensions: usize,
    preprocess: Preprocess,
    load: Load<dyn Encoder, EncoderError>,
    loaded: OnceCell<Box<dyn Encoder>>,
}

impl DeferredEncoder {
    /// The encoder that `load` gives, which is known to have the other properties.
    pub fn new(
        id: String,
        dimensions: usize,
        preprocess: Preprocess,
        load: Load<dyn Encoder, EncoderError>,
    ) -> Self {
        DeferredEncoder {
            id,
            dimensions,
            preprocess,
            load,
            loaded: OnceCell::new(),
        }
    }
}

impl DeferredEncoder {
    fn loaded(&self) -> Result<&dyn Encoder, EncoderError> {
        Ok(match self.loaded.get() {
            Some(encoder) => encoder.as_ref(),
            None => {
                let encoder = (self.load)()?;
                if encoder.id() != self.id {
                    return Err(EncoderError::NotAsRecorded {
                        expected: self.id.clone(),
                        found: encoder.id().to_owned(),
                    });
                }
                self.loaded.get_or_init(|| encoder).as_ref()
            }
        })
    }
}

impl Encoder for DeferredEncoder {
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
        self.loaded()?.encode(pictures)
    }

    fn begin(&self, pictures: Vec<Vec<u8>>) -> Result<Underway, EncoderError> {
        self.loaded()?.begin(pictures)
    }
}

/// A captioner that is read when the first features come.
pub struct DeferredCaptioner {
    id: String,
    dimensions: usize,
    load: Load<dyn Captioner, CaptionerError>,
    loaded: OnceCell<Box<dyn Captioner>>,
}

impl DeferredCaptioner {
    /// The captioner that `load` gives, which is known to have the other properties.
    pub fn new(id: String, dimensions: usize, load: Load<dyn Captioner, CaptionerError>) -> Self {
        DeferredCaptioner {
            id,
            dimensions,
            load,
            loaded: OnceCell::new(),
        }
    }
}

impl DeferredCaptioner {
    fn loaded(&self) -> Result<&dyn Captioner, CaptionerError> {
        Ok(match self.loaded.get() {
            Some(captioner) => captioner.as_ref(),
            None => {
                let captioner = (self.load)()?;
                if captioner.id() != self.id {
                    return Err(CaptionerError::NotAsRecorded {
                        expected: self.id.clone(),
                        found: captioner.id().to_owned(),
                    });
                }
                self.loaded.get_or_init(|| captioner).as_ref()
            }
        })
    }
}

impl Captioner for DeferredCaptioner {
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
        self.loaded()?.caption(features, decoding)
    }

    fn attention(
        &self,
        features: &[f32],
        caption: &str,
    ) -> Result<Option<Attention>, CaptionerError> {
        self.loaded()?.attention(features, caption)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Constant(&'static str);

    impl Encoder for Constant {
        fn id(&self) -> &str {
            self.0
        }

        fn dimensions(&self) -> usize {
            1
        }

        fn preprocess(&self) -> &Preprocess {
            unreachable!("the description says it")
        }

        fn encode(&self, pictures: &[&[u8]]) -> Result<Vec<f32>, EncoderError> {
            Ok(vec![1.0; pictures.len()])
        }
    }

    fn deferred(id: &'static str) -> (DeferredEncoder, Arc<AtomicU32>) {
        let loads = Arc::new(AtomicU32::new(0));
        let counted = loads.clone();
        let load = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Constant(id)) as Box<dyn Encoder>)
        };
        let preprocess = Preprocess::torchvision_vgg16();
        let encoder = DeferredEncoder::new("known".to_owned(), 1, preprocess, Box::new(load));
        (encoder, loads)
    }

    #[test]
    fn an_encoder_is_read_once_and_only_when_it_is_needed() {
        let (encoder, loads) = deferred("known");
        assert_eq!(
            (
                encoder.id(),
                encoder.dimensions(),
                loads.load(Ordering::Relaxed)
            ),
            ("known", 1, 0)
        );
        assert_eq!(encoder.encode(&[&[0], &[0]]).unwrap(), [1.0, 1.0]);
        assert_eq!(encoder.begin(vec![vec![0]]).unwrap().get().unwrap(), [1.0]);
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn other_weights_than_those_recorded_compute_nothing() {
        let (encoder, _) = deferred("other");
        let error = encoder.encode(&[&[0]]).unwrap_err().to_string();
        assert!(
            error.contains("known") && error.contains("other"),
            "{error}"
        );
        assert!(error.contains("--verify"), "{error}");
    }
}
