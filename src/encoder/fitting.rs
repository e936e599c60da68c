//! Passes on no more pictures at a time than the device has room for, which shows when it has none left.

use std::cell::Cell;

use super::preprocess::Preprocess;
use super::{Encoder, EncoderError};

/// An encoder that goes on with smaller batches where its device runs out of memory.
pub struct Fitting<E> {
    encoder: E,
    /// Pictures that fitted, or are yet to be tried.
    most: Cell<usize>,
}

impl<E: Encoder> Fitting<E> {
    pub fn new(encoder: E) -> Self {
        Fitting {
            encoder,
            most: Cell::new(usize::MAX),
        }
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

    fn encode(&self, pixels: &[u8]) -> Result<Vec<f32>, EncoderError> {
        let picture = pixels.len() / self.preprocess().pictures(pixels)?;
        let mut features = Vec::new();
        let mut rest = pixels;
        loop {
            let taken = rest.len().min(picture.saturating_mul(self.most.get()));
            match self.encoder.encode(&rest[..taken]) {
                Ok(rows) => features.extend(rows),
                Err(error) if is_out_of_memory(&error) && taken > picture => {
                    let fewer = (taken / picture).div_ceil(2);
                    tracing::warn!(
                        "the device has no room for {} pictures at a time; going on with {fewer}",
                        taken / picture
                    );
                    self.most.set(fewer);
                    continue;
                }
                Err(error) => return Err(error),
            }
            rest = &rest[taken..];
            if rest.is_empty() {
                return Ok(features);
            }
        }
    }
}

/// As libtorch says it of a GPU, and of the CPU.
fn is_out_of_memory(error: &EncoderError) -> bool {
    let EncoderError::Device(error) = error else {
        return false;
    };
    let text = error.to_string();
    [
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "CUDNN_STATUS_ALLOC_FAILED",
    ]
    .iter()
    .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Gives each picture its first byte, as long as there is room.
    struct Small {
        preprocess: Preprocess,
        room: usize,
        reason: &'static str,
        batches: RefCell<Vec<usize>>,
    }

    impl Encoder for Small {
        fn id(&self) -> &str {
            "small"
        }

        fn dimensions(&self) -> usize {
            1
        }

        fn preprocess(&self) -> &Preprocess {
            &self.preprocess
        }

        fn encode(&self, pixels: &[u8]) -> Result<Vec<f32>, EncoderError> {
            let picture = 32 * 32 * 3;
            let count = pixels.len() / picture;
            if count > self.room {
                return Err(tch::TchError::Torch(self.reason.to_owned()).into());
            }
            self.batches.borrow_mut().push(count);
            Ok(pixels
                .chunks(picture)
                .map(|picture| f32::from(picture[0]))
                .collect())
        }
    }

    const FULL: &str = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.50 GiB free";

    fn fitting(room: usize, reason: &'static str) -> Fitting<Small> {
        let mut preprocess = Preprocess::torchvision_vgg16();
        preprocess.crop = 32;
        let batches = RefCell::default();
        Fitting::new(Small {
            preprocess,
            room,
            reason,
            batches,
        })
    }

    fn pictures(count: u8) -> Vec<u8> {
        (0..count)
            .flat_map(|index| vec![index; 32 * 32 * 3])
            .collect()
    }

    #[test]
    fn batches_are_halved_until_they_fit_and_stay_so() {
        let encoder = fitting(5, FULL);
        let expected: Vec<f32> = (0..30).map(|index| index as f32).collect();
        assert_eq!(encoder.encode(&pictures(30)).unwrap(), expected);
        assert_eq!(encoder.encode(&pictures(6)).unwrap(), expected[..6]);
        assert_eq!(
            *encoder.encoder.batches.borrow(),
            [4, 4, 4, 4, 4, 4, 4, 2, 4, 2]
        );
    }

    #[test]
    fn one_picture_that_does_not_fit_is_an_error() {
        let error = fitting(0, FULL).encode(&pictures(9)).unwrap_err();
        assert!(is_out_of_memory(&error));
    }

    #[test]
    fn other_errors_are_not_tried_again() {
        let encoder = fitting(1, "CUDA error: an illegal memory access was encountered");
        assert!(encoder.encode(&pictures(4)).is_err());
        assert!(encoder.encoder.batches.borrow().is_empty());
    }
}
