//! How much goes through a device at a time: as much as its free memory lets expect, and half of it whenever
//! it has none left.

use std::cell::Cell;
use std::ffi::c_int;
use std::ops::Range;

use libloading::os::unix::Library;
use tch::{Device, TchError};

/// How many pictures go through a device at a time.
#[derive(Debug)]
pub struct Room {
    /// As many fitted, or are yet to be tried.
    most: Cell<usize>,
}

impl Room {
    /// For at most `most` pictures.
    pub fn new(most: usize) -> Self {
        Room {
            most: Cell::new(most.max(1)),
        }
    }

    /// For as many pictures as the free memory of `device` lets expect, if each takes `bytes`; for any number
    /// where nobody can tell.
    pub fn of(device: Device, bytes: u64) -> Self {
        let Some(free) = free_memory(device) else {
            return Room::new(usize::MAX);
        };
        let most = usize::try_from(free / bytes.max(1)).unwrap_or(usize::MAX);
        tracing::debug!(
            ?device,
            free,
            most,
            "pictures that it has room for together"
        );
        Room::new(most)
    }

    /// What `compute` gives for `count` pictures, asked of as many at a time as there is room for. `failure`
    /// tells what the device said.
    ///
    /// # Errors
    ///
    /// Those of `compute`, but for a lack of memory for more than one picture.
    pub fn share<T, E>(
        &self,
        count: usize,
        mut compute: impl FnMut(Range<usize>) -> Result<Vec<T>, E>,
        failure: impl Fn(&E) -> Option<&TchError>,
    ) -> Result<Vec<T>, E> {
        let mut all = Vec::new();
        let mut done = 0;
        while done < count {
            let taken = (count - done).min(self.most.get());
            match compute(done..done + taken) {
                // Most batches go through whole.
                Ok(results) if done == 0 => all = results,
                Ok(results) => all.extend(results),
                Err(error) if taken > 1 && failure(&error).is_some_and(is_out_of_memory) => {
                    let fewer = taken.div_ceil(2);
                    tracing::warn!(
                        "the device has no room for {taken} pictures at a time; going on with {fewer}"
                    );
                    self.most.set(fewer);
                    continue;
                }
                Err(error) => return Err(error),
            }
            done += taken;
        }
        Ok(all)
    }
}

/// As libtorch says it of a GPU, and of the CPU.
fn is_out_of_memory(error: &TchError) -> bool {
    let text = error.to_string();
    [
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "CUDNN_STATUS_ALLOC_FAILED",
        "CUBLAS_STATUS_ALLOC_FAILED",
        // What is left of cuDNN's attempts when none found room for what it needs beside.
        "unable to find an engine to execute this computation",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// Bytes that a GPU has free, as CUDA's runtime, which comes with libtorch, tells it.
fn free_memory(device: Device) -> Option<u64> {
    let Device::Cuda(index) = device else {
        return None;
    };
    let index = c_int::try_from(index).ok()?;
    let process = Library::this();
    let (mut before, mut free, mut total): (c_int, usize, usize) = (0, 0, 0);
    // SAFETY: the signatures are those of cuda_runtime_api.h, and every pointer is to a local. The device that
    // this thread computes on is afterwards what it was.
    let status = unsafe {
        let get_device = process
            .get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cudaGetDevice\0")
            .ok()?;
        let set_device = process
            .get::<unsafe extern "C" fn(c_int) -> c_int>(b"cudaSetDevice\0")
            .ok()?;
        let get_memory = process
            .get::<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int>(b"cudaMemGetInfo\0")
            .ok()?;
        if get_device(&mut before) != 0 || set_device(index) != 0 {
            return None;
        }
        let status = get_memory(&mut free, &mut total);
        set_device(before);
        status
    };
    (status == 0).then_some(free as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.50 GiB free";

    /// Numbers from a device that has room for `fits` and then says `reason`, and how many it was asked for.
    fn share(
        room: &Room,
        count: usize,
        fits: usize,
        reason: &str,
    ) -> (Result<Vec<usize>, TchError>, Vec<usize>) {
        let mut asked = Vec::new();
        let compute = |range: Range<usize>| {
            if range.len() > fits {
                return Err(TchError::Torch(reason.to_owned()));
            }
            asked.push(range.len());
            Ok(range.collect())
        };
        let result = room.share(count, compute, |error| Some(error));
        (result, asked)
    }

    #[test]
    fn batches_are_halved_until_they_fit_and_stay_so() {
        let room = Room::new(usize::MAX);
        let (found, asked) = share(&room, 30, 5, FULL);
        assert_eq!(found.unwrap(), (0..30).collect::<Vec<_>>());
        assert_eq!(asked, [4, 4, 4, 4, 4, 4, 4, 2]);
        let (found, asked) = share(&room, 6, 5, FULL);
        assert_eq!(found.unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(asked, [4, 2]);
    }

    #[test]
    fn no_more_are_tried_than_are_expected_to_fit() {
        let (found, asked) = share(&Room::new(8), 20, 30, FULL);
        assert_eq!(found.unwrap().len(), 20);
        assert_eq!(asked, [8, 8, 4]);
        let (found, asked) = share(&Room::of(Device::Cpu, 1 << 40), 20, 30, FULL);
        assert_eq!(found.unwrap().len(), 20);
        assert_eq!(asked, [20]);
    }

    #[test]
    fn one_picture_that_does_not_fit_is_an_error() {
        let (found, _) = share(&Room::new(9), 9, 0, FULL);
        assert!(is_out_of_memory(&found.unwrap_err()));
    }

    #[test]
    fn other_errors_are_not_tried_again() {
        let reason = "CUDA error: an illegal memory access was encountered";
        let (found, asked) = share(&Room::new(9), 4, 1, reason);
        assert!(found.is_err() && asked.is_empty());
    }
}
