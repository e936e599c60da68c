//! Turns files into pixels of the encoder's size, or into what is known of them already.
//!
//! A file whose features or captions are known is not decoded, and one whose bytes are known is not
//! even opened. Of files with equal bytes only one is decoded.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use rayon::prelude::*;

use super::budget::Budget;
use super::live::{Live, count};
use crate::archive::{self, Failure, ImageId, ImageRef, Limits, LoadOutcome, Loaded};
use crate::cache::Cache;
use crate::encoder::preprocess::Preprocess;
use crate::nightly::{Because, KnownCaptions};
use crate::table::{Identity, Known, Status};

/// Work that the plan found.
#[derive(Debug)]
pub enum Task {
    New(ImageRef),
    /// What its bytes are now is to be seen.
    Read {
        file: ImageRef,
        known: Known,
        because: Because,
    },
    /// Its bytes are those of its row.
    Recaption {
        file: ImageRef,
        known: Known,
    },
    Unreadable {
        file: ImageRef,
        reason: String,
    },
    Deleted(Known),
}

/// An image, a failure or a deletion on its way to its row.
#[derive(Debug)]
pub enum Item {
    Image {
        file: ImageRef,
        picture: PictureInfo,
        pixels: Option<Vec<u8>>,
    },
    Failed {
        file: ImageRef,
        image_id: Option<ImageId>,
        picture: Option<PictureInfo>,
        failure: Failure,
    },
    Deleted(Known),
}

/// What a row says of a picture beside its caption.
#[derive(Debug, Clone)]
pub struct PictureInfo {
    pub image_id: ImageId,
    /// Width and height in pixels, as shown, as far as the file tells.
    pub size: Option<(u32, u32)>,
    pub format: Arc<str>,
}

/// See the [module](self).
pub struct ReadingStage<'a> {
    cache: &'a Cache,
    /// Absent where only features are wanted.
    captions: Option<&'a KnownCaptions>,
    identity: Identity,
    preprocess: Preprocess,
    limits: Limits,
    live: &'a Live,
    /// Contents that this run has met.
    met: Mutex<HashSet<ImageId>>,
    /// What became of those that failed.
    failures: Mutex<HashMap<ImageId, Failure>>,
    /// Of the files that are being read or decoded.
    file_bytes: Budget,
    /// Of the pictures that are being decoded.
    picture_bytes: Budget,
}

/// For each thread, in bytes. What the limits allow a single image may be more.
const FILE_BYTES: u64 = 16 << 20;
const PICTURE_BYTES: u64 = 256 << 20;

/// About what decoding holds of each pixel: as the decoder makes it, as RGB, turned upright.
const BYTES_PER_PIXEL: u64 = 12;

impl<'a> ReadingStage<'a> {
    pub fn new(
        cache: &'a Cache,
        captions: Option<&'a KnownCaptions>,
        identity: Identity,
        preprocess: Preprocess,
        limits: Limits,
        live: &'a Live,
    ) -> Self {
        let threads = rayon::current_num_threads() as u64;
        ReadingStage {
            cache,
            captions,
            identity,
            preprocess,
            limits,
            live,
            met: Mutex::default(),
            failures: Mutex::default(),
            file_bytes: Budget::new(limits.max_file_bytes.max(threads * FILE_BYTES)),
            picture_bytes: Budget::new(limits.max_memory.max(threads * PICTURE_BYTES)),
        }
    }

    /// Reads chunk after chunk until either queue is closed.
    pub fn run(&self, chunks: Receiver<Vec<Task>>, read: Sender<Vec<Item>>) {
        for chunk in chunks {
            let count = chunk.len();
            let items = self.live.read.time(count, || {
                chunk
                    .into_par_iter()
                    .filter_map(|task| self.read(task))
                    .collect()
            });
            if read.send(items).is_err() {
                return;
            }
        }
    }

    fn read(&self, task: Task) -> Option<Item> {
        match task {
            Task::New(file) => self.open(file, None),
            Task::Read {
                file,
                known,
                because,
            } => self.open(file, Some((known, because))),
            Task::Recaption { file, known } => match picture_of(&known) {
                Some(picture) if self.needs_no_pixels(&picture.image_id) => Some(Item::Image {
                    file,
                    picture,
                    pixels: None,
                }),
                _ => self.open(file, Some((known, Because::Changed))),
            },
            Task::Unreadable { file, reason } => {
                let failure = Failure::read(reason);
                Some(Item::Failed {
                    file,
                    image_id: None,
                    picture: None,
                    failure,
                })
            }
            Task::Deleted(known) => Some(Item::Deleted(known)),
        }
    }

    fn open(&self, file: ImageRef, known: Option<(Known, Because)>) -> Option<Item> {
        // Of a file that is larger only the beginning is read.
        let whole = file.bytes <= self.limits.max_file_bytes;
        let _file = self.file_bytes.share(if whole { file.bytes } else { 0 });
        let loaded = match archive::load(&file, &self.limits) {
            LoadOutcome::Loaded(loaded) => loaded,
            LoadOutcome::Failed { image_id, failure } => {
                if let (Some(id), Some((known, because))) = (&image_id, &known)
                    && self.stands(id, known, *because)
                {
                    return None;
                }
                return Some(Item::Failed {
                    file,
                    image_id,
                    picture: None,
                    failure,
                });
            }
            LoadOutcome::NotAnImage => {
                count(&self.live.not_images);
                self.live.found.fetch_sub(1, Ordering::Relaxed);
                // What was an image in an earlier run and is none now has gone from the archive.
                return known.map(|(known, _)| Item::Deleted(known));
            }
        };
        let id = loaded.image_id;
        self.live
            .bytes
            .fetch_add(loaded.bytes.len() as u64, Ordering::Relaxed);
        if let Some((known, because)) = &known {
            if self.stands(&id, known, *because) {
                return None;
            }
            let is_as_walked = (known.bytes, known.modified_at) == (file.bytes, file.modified);
            if known.image_id == Some(id) && known.status == Status::Captioned && !is_as_walked {
                count(&self.live.touched);
            }
        }
        if self.needs_no_pixels(&id) || !self.is_first(id) {
            let described = archive::dimensions(&loaded);
            return Some(match described {
                Ok(size) => Item::Image {
                    file,
                    picture: info(&loaded, Some(size)),
                    pixels: None,
                },
                Err(failure) => failed(file, &loaded, failure),
            });
        }
        Some(self.decode(file, &loaded))
    }

    /// Whether a file that was read only to see that its bytes are those of its row has them, and its
    /// row needs nothing else. Counts it then.
    fn stands(&self, id: &ImageId, known: &Known, because: Because) -> bool {
        if because != Because::Verify || known.image_id.as_ref() != Some(id) {
            return false;
        }
        // Where features are wanted for their own sake, they have to be there.
        if self.captions.is_none() && known.status == Status::Captioned && !self.cache.contains(id)
        {
            return false;
        }
        match known.status {
            Status::Captioned if known.identity.as_ref() == Some(&self.identity) => {}
            Status::Failed(_) => count(&self.live.unchanged_failed),
            _ => return false,
        }
        count(&self.live.unchanged);
        true
    }

    fn needs_no_pixels(&self, id: &ImageId) -> bool {
        self.cache.contains(id) || self.captions.is_some_and(|captions| captions.contains(id))
    }

    /// Reads a file whatever the cache says: its features were there and could not be read.
    pub fn read_anew(&self, file: ImageRef) -> Item {
        match archive::load(&file, &self.limits) {
            LoadOutcome::Loaded(loaded) => self.decode(file, &loaded),
            LoadOutcome::Failed { image_id, failure } => Item::Failed {
                file,
                image_id,
                picture: None,
                failure,
            },
            LoadOutcome::NotAnImage => {
                let failure = Failure::read("the file changed while it was read");
                Item::Failed {
                    file,
                    image_id: None,
                    picture: None,
                    failure,
                }
            }
        }
    }

    fn decode(&self, file: ImageRef, loaded: &Loaded) -> Item {
        let (width, height) = archive::dimensions(loaded).unwrap_or_default();
        let bytes = u64::from(width) * u64::from(height) * BYTES_PER_PIXEL;
        let _picture = self.picture_bytes.share(bytes.min(self.limits.max_memory));
        let side = self.preprocess.least_side();
        let decoded = archive::decode_at_least(loaded, &self.limits, side).and_then(|shown| {
            let pixels = self.preprocess.apply_to_shown(&shown);
            let pixels = pixels.map_err(|error| Failure::decode(error.to_string()))?;
            Ok((shown.size, pixels))
        });
        match decoded {
            Ok((size, pixels)) => Item::Image {
                file,
                picture: info(loaded, Some(size)),
                pixels: Some(pixels),
            },
            Err(failure) => {
                self.note_failure(loaded.image_id, failure.clone());
                failed(file, loaded, failure)
            }
        }
    }

    fn is_first(&self, id: ImageId) -> bool {
        locked(&self.met).insert(id)
    }

    /// Remembers why a content failed, for the files that hold it too.
    pub fn note_failure(&self, id: ImageId, failure: Failure) {
        locked(&self.failures).insert(id, failure);
    }

    pub fn failure(&self, id: &ImageId) -> Option<Failure> {
        locked(&self.failures).get(id).cloned()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(file: ImageRef, loaded: &Loaded, failure: Failure) -> Item {
    // A header may tell the size of a picture whose pixels are damaged.
    let size = archive::dimensions(loaded).ok();
    Item::Failed {
        file,
        image_id: Some(loaded.image_id),
        picture: Some(info(loaded, size)),
        failure,
    }
}

fn info(loaded: &Loaded, size: Option<(u32, u32)>) -> PictureInfo {
    let format = loaded.format.as_str().into();
    PictureInfo {
        image_id: loaded.image_id,
        size,
        format,
    }
}

fn picture_of(known: &Known) -> Option<PictureInfo> {
    Some(PictureInfo {
        image_id: known.image_id?,
        size: known.width.zip(known.height),
        format: known.format.clone()?,
    })
}
