//! Turns pixels into features.
//!
//! Runs on a thread of its own, so that a chunk is encoded while the one before it is captioned. Where a
//! device computes by itself it is handed the next chunk before the features of the last are fetched.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};

use super::live::{Live, count};
use super::reading::{Item, ReadingStage};
use crate::archive::{Failure, ImageId, Stage};
use crate::cache::Precision;
use crate::encoder::{Encoder, EncoderError, Underway};

/// Features by content, `[dimensions]` each, rounded as the cache keeps them.
pub type Features = HashMap<ImageId, Vec<f32>>;

/// A chunk, and the features of those of its pictures that came with pixels.
pub struct Encoded {
    pub items: Vec<Item>,
    pub features: Features,
}

/// See the [module](self).
pub struct EncodingStage<'a> {
    encoder: Mutex<&'a mut dyn Encoder>,
    dimensions: usize,
    precision: Precision,
    reading: &'a ReadingStage<'a>,
    live: &'a Live,
}

/// A chunk that is being encoded.
struct Begun {
    items: Vec<Item>,
    /// Of which pictures.
    ids: Vec<ImageId>,
    features: Underway,
}

impl<'a> EncodingStage<'a> {
    pub fn new(
        encoder: &'a mut dyn Encoder,
        precision: Precision,
        reading: &'a ReadingStage<'a>,
        live: &'a Live,
    ) -> Self {
        EncodingStage {
            dimensions: encoder.dimensions(),
            encoder: Mutex::new(encoder),
            precision,
            reading,
            live,
        }
    }

    /// Encodes chunk after chunk until either queue is closed.
    pub fn run(
        &self,
        chunks: Receiver<Vec<Item>>,
        encoded: Sender<Encoded>,
    ) -> Result<(), EncoderError> {
        let mut begun: Option<Begun> = None;
        loop {
            let next = match &begun {
                None => match chunks.recv() {
                    Ok(chunk) => Some(chunk),
                    Err(_) => return Ok(()),
                },
                Some(begun) if begun.features.are_there() => None,
                // Nothing is waited for while there is something to fetch.
                Some(_) => chunks.try_recv().ok(),
            };
            let next = next.map(|chunk| self.begin(chunk)).transpose()?;
            if let Some(begun) = std::mem::replace(&mut begun, next)
                && encoded.send(self.finish(begun)?).is_err()
            {
                // A later stage has failed and will say why.
                return Ok(());
            }
        }
    }

    /// The features of a single picture, whatever else is under way.
    pub fn encode(&self, item: Item) -> Result<Encoded, EncoderError> {
        self.finish(self.begin(vec![item])?)
    }

    fn begin(&self, mut items: Vec<Item>) -> Result<Begun, EncoderError> {
        let mut ids = Vec::new();
        let mut pictures = Vec::new();
        for item in &mut items {
            if let Item::Image {
                picture, pixels, ..
            } = item
                && let Some(pixels) = pixels.take()
            {
                ids.push(picture.image_id);
                pictures.push(pixels);
            }
        }
        let features = if pictures.is_empty() {
            // Then a night's encoder need not even be read.
            Underway::done(Vec::new())
        } else {
            let encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
            self.live
                .encode
                .time(pictures.len(), || encoder.begin(pictures))?
        };
        Ok(Begun {
            items,
            ids,
            features,
        })
    }

    fn finish(&self, begun: Begun) -> Result<Encoded, EncoderError> {
        let rows = self.live.encode.time(0, || begun.features.get())?;
        let mut features = Features::with_capacity(begun.ids.len());
        for (id, row) in begun
            .ids
            .into_iter()
            .zip(rows.chunks_exact(self.dimensions))
        {
            count(&self.live.embedded);
            let mut row = row.to_vec();
            if row.iter().all(|value| value.is_finite()) {
                // Captions come from the very values that the cache will give back.
                self.precision.round(&mut row);
                features.insert(id, row);
            } else {
                let reason = "the encoder gave features that are no finite numbers".to_owned();
                let failure = Failure {
                    stage: Stage::Encode,
                    reason,
                };
                self.reading.note_failure(id, failure);
            }
        }
        Ok(Encoded {
            items: begun.items,
            features,
        })
    }
}
