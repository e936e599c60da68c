//! Passes on no more features at a time than the device has room for.

use std::ops::Range;

use super::{Attention, Beam, Captioner, CaptionerError, Decoding};
use crate::encoder::device::room::Room;

/// A captioner that goes on with smaller batches where its device runs out of memory.
pub struct Fitting<C> {
    captioner: C,
    room: Room,
}

impl<C: Captioner> Fitting<C> {
    pub fn new(captioner: C) -> Self {
        let room = Room::new(usize::MAX);
        Fitting { captioner, room }
    }
}

impl<C: Captioner> Captioner for Fitting<C> {
    fn id(&self) -> &str {
        self.captioner.id()
    }

    fn dimensions(&self) -> usize {
        self.captioner.dimensions()
    }

    fn caption(
        &self,
        features: &[f32],
        decoding: &Decoding,
    ) -> Result<Vec<Vec<Beam>>, CaptionerError> {
        let dimensions = self.dimensions();
        let caption = |pictures: Range<usize>| {
            let features = &features[pictures.start * dimensions..pictures.end * dimensions];
            self.captioner.caption(features, decoding)
        };
        self.check(features)?;
        let pictures = features.len() / dimensions;
        self.room.share(pictures, caption, |error| match error {
            CaptionerError::Device(error) => Some(error),
            _ => None,
        })
    }

    fn attention(
        &self,
        features: &[f32],
        caption: &str,
    ) -> Result<Option<Attention>, CaptionerError> {
        self.captioner.attention(features, caption)
    }
}
