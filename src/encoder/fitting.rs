//! Passes on no more pictures at a time than the device has room for.

use super::device::room::Room;
use super::preprocess::Preprocess;
use super::{Encoder, EncoderError};

/// An encoder that goes on with smaller batches where its device runs out of memory.
pub struct Fitting<E> {
    encoder: E,
    room: Room,
}

impl<E: Encoder> Fitting<E> {
    pub fn new(encoder: E, room: Room) -> Self {
        Fitting { encoder, room }
    }
}

impl<E: Encoder> Encoder for Fitting<E> {
    fn id(&self) -> &str {
        self.encoder.id()
    }

    fn dimensions(&self) -> usize {
        self.encoder.dimensions()
    }

    fn preprocess(&self) -> &Preprocess {
        self.encoder.preprocess()
    }

    fn encode(&self, pictures: &[&[u8]]) -> Result<Vec<f32>, EncoderError> {
        let encode = |range: std::ops::Range<usize>| self.encoder.encode(&pictures[range]);
        self.room
            .share(pictures.len(), encode, |error| match error {
                EncoderError::Device(error) => Some(error),
                _ => None,
            })
    }
}
