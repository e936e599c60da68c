//! Turns features into captions, and both into rows.
//!
//! Runs on one thread, the only one that touches the captioner.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::Utc;
use crossbeam_channel::{Receiver, Sender};

use super::encoding::{Encoded, EncodingStage};
use super::live::{Live, count};
use super::reading::{Item, PictureInfo, ReadingStage};
use super::{Keep, PipelineError, QUEUE};
use crate::archive::{Failure, ImageId, ImageRef, Stage};
use crate::cache::Cache;
use crate::captioner::{Beam, Captioner, Decoding};
use crate::nightly::KnownCaptions;
use crate::table::{Identity, Outcome, Row, RunId};

/// Failures that are logged where no table tells of them.
const TOLD: u64 = 10;

/// Captions kept, at least, for files that hold the same picture as an earlier one.
const RECENT: usize = 1024;

/// Chunks that can be between this stage and the cache: waiting, or in a thread's hands. Until their
/// features can be found there, captions are kept of so many.
const UNDER_WAY: usize = QUEUE + 3;

/// What a chunk leaves to be written.
#[derive(Debug, Default)]
pub struct Finished {
    /// Computed in this run, rounded as the cache keeps them.
    pub features: Vec<(ImageId, Vec<f32>)>,
    pub rows: Vec<Row>,
}

/// See the [module](self).
pub struct CaptioningStage<'a> {
    /// Absent where only features are wanted.
    captioner: Option<(&'a dyn Captioner, Decoding)>,
    identity: Identity,
    cache: &'a Cache,
    /// Absent where only features are wanted.
    known: Option<&'a KnownCaptions>,
    reading: &'a ReadingStage<'a>,
    encoding: &'a EncodingStage<'a>,
    run_id: RunId,
    live: &'a Live,
    keep: Keep,
    /// Of how many pictures captions are kept at least.
    keep_captions: usize,
    /// Captions of the last pictures, and of those before.
    recent: HashMap<ImageId, Arc<[Beam]>>,
    older: HashMap<ImageId, Arc<[Beam]>>,
}

impl<'a> CaptioningStage<'a> {
    pub fn new(
        captioner: Option<(&'a dyn Captioner, Decoding)>,
        identity: Identity,
        known: Option<&'a KnownCaptions>,
        cache: &'a Cache,
        (reading, encoding): (&'a ReadingStage<'a>, &'a EncodingStage<'a>),
        run_id: RunId,
        live: &'a Live,
    ) -> Self {
        let (recent, older) = Default::default();
        CaptioningStage {
            captioner,
            identity,
            cache,
            known,
            reading,
            encoding,
            run_id,
            live,
            keep: Keep::Features,
            keep_captions: RECENT,
            recent,
            older,
        }
    }

    /// What becomes of features once there are captions, by default they are kept; and how many images
    /// a chunk has at most.
    pub fn keeping(self, keep: Keep, batch: usize) -> Self {
        CaptioningStage {
            keep,
            keep_captions: RECENT.max(UNDER_WAY * batch),
            ..self
        }
    }

    /// Works on chunk after chunk until either queue is closed.
    pub fn run(
        &mut self,
        chunks: Receiver<Encoded>,
        captioned: Sender<Finished>,
    ) -> Result<(), PipelineError> {
        for chunk in chunks {
            let finished = self.finish(chunk)?;
            if captioned.send(finished).is_err() {
                // The writer has failed and will say why.
                return Ok(());
            }
        }
        Ok(())
    }

    fn finish(&mut self, encoded: Encoded) -> Result<Finished, PipelineError> {
        self.forget_the_oldest();
        let mut chunk = encoded.items;
        let mut features = computed(encoded.features);
        let mut origins = HashMap::new();
        let captioner = self.captioner.is_some();
        if captioner {
            self.take_over(&chunk, &features, &mut origins);
            self.recall(&mut chunk, &mut features)?;
            self.caption(&chunk, &features)?;
        } else {
            // Features that are wanted and were not computed are in the cache.
            origins.extend(
                chunk
                    .iter()
                    .filter_map(Item::image_id)
                    .map(|id| (id, Origin::Cache)),
            );
        }
        origins.extend(features.iter().map(|(id, (origin, _))| (*id, *origin)));
        let mut rows = Vec::with_capacity(chunk.len());
        for item in chunk {
            let row = self.row(item);
            match &row.outcome {
                Outcome::Captioned(beams) => {
                    let caption = beams.first().map(|best| &*best.caption);
                    tracing::trace!(uri = row.uri, caption, "done");
                    count(&self.live.done);
                    // The first file of a content has it from there, the others from the first.
                    match row.image_id.and_then(|id| origins.remove(&id)) {
                        Some(Origin::Encoder) => {}
                        Some(Origin::Cache) => count(&self.live.from_cache),
                        Some(Origin::Table) => count(&self.live.from_table),
                        None => count(&self.live.duplicates),
                    }
                }
                Outcome::Failed(_) => count(&self.live.failed),
                Outcome::Deleted => count(&self.live.deleted),
            }
            if let Outcome::Failed(failure) = &row.outcome {
                tracing::debug!(uri = row.uri, stage = ?failure.stage, reason = failure.reason, "failed");
                let told = self.live.failed.load(Ordering::Relaxed);
                if !captioner && told <= TOLD {
                    // The table has no row that would tell.
                    tracing::warn!("{}: {}", row.uri, failure.reason);
                    if told == TOLD {
                        tracing::warn!(
                            "further failures are told by files.arrow beside the features"
                        );
                    }
                }
            }
            rows.push(row);
        }
        let features = features
            .into_iter()
            .filter(|(_, (origin, _))| *origin == Origin::Encoder && self.keep == Keep::Features);
        Ok(Finished {
            features: features.map(|(id, (_, row))| (id, row)).collect(),
            rows,
        })
    }

    /// Takes over what the table says already of pictures that came without pixels.
    fn take_over(
        &mut self,
        chunk: &[Item],
        features: &Features,
        origins: &mut HashMap<ImageId, Origin>,
    ) {
        let Some(known) = self.known else { return };
        let wanted = self.without_captions(chunk, features);
        if wanted.is_empty() {
            return;
        }
        for (id, beams) in known.get(&wanted) {
            self.recent.insert(id, beams.into());
            origins.insert(id, Origin::Table);
        }
    }

    /// The pictures that have neither features nor captions nor a reason to have none.
    fn without_captions(&self, chunk: &[Item], features: &Features) -> Vec<ImageId> {
        let ids = chunk.iter().filter_map(Item::image_id);
        ids.filter(|id| !features.contains_key(id) && self.captions(id).is_none())
            .filter(|id| self.reading.failure(id).is_none())
            .collect()
    }

    /// Adds the features of pictures that came without pixels.
    fn recall(&mut self, chunk: &mut [Item], features: &mut Features) -> Result<(), PipelineError> {
        let wanted = self.without_captions(chunk, features);
        let mut missing = Vec::new();
        for (id, found) in wanted.iter().zip(self.cache.get(&wanted)) {
            match found {
                Some(row) => {
                    features.insert(*id, (Origin::Cache, row));
                }
                None => missing.push(*id),
            }
        }
        for item in chunk.iter_mut() {
            let Item::Image { file, picture, .. } = item else {
                continue;
            };
            if missing.contains(&picture.image_id) && !features.contains_key(&picture.image_id) {
                let mut encoded = self.encoding.encode(self.reading.read_anew(file.clone()))?;
                features.extend(computed(encoded.features));
                *item = encoded.items.swap_remove(0);
            }
        }
        Ok(())
    }

    /// Captions each picture of the chunk that has no captions yet.
    fn caption(&mut self, chunk: &[Item], features: &Features) -> Result<(), PipelineError> {
        let Some((captioner, decoding)) = &self.captioner else {
            return Ok(());
        };
        let mut ids: Vec<ImageId> = Vec::new();
        let mut rows = Vec::new();
        for id in chunk.iter().filter_map(Item::image_id) {
            if let Some((_, row)) = features.get(&id)
                && self.captions(&id).is_none()
                && !ids.contains(&id)
            {
                ids.push(id);
                rows.extend_from_slice(row);
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        let captions = self
            .live
            .caption
            .time(ids.len(), || captioner.caption(&rows, decoding))?;
        for (id, beams) in ids.into_iter().zip(captions) {
            if beams.is_empty() {
                let reason = "the captioner gave no finite probability".to_owned();
                self.reading.note_failure(
                    id,
                    Failure {
                        stage: Stage::Caption,
                        reason,
                    },
                );
            } else {
                self.recent.insert(id, beams.into());
            }
        }
        Ok(())
    }

    /// Between two chunks, so that what a chunk was found to need is there to its end.
    fn forget_the_oldest(&mut self) {
        if self.recent.len() >= self.keep_captions {
            self.older = std::mem::take(&mut self.recent);
        }
    }

    fn captions(&self, id: &ImageId) -> Option<&Arc<[Beam]>> {
        self.recent.get(id).or_else(|| self.older.get(id))
    }

    fn row(&self, item: Item) -> Row {
        let now = Utc::now().timestamp_micros();
        let (file, image_id, picture, outcome) = match item {
            Item::Deleted(known) => return known.deleted(self.run_id, now),
            Item::Failed {
                file,
                image_id,
                picture,
                failure,
            } => (file, image_id, picture, Outcome::Failed(failure)),
            Item::Image { file, picture, .. } => {
                let id = picture.image_id;
                let outcome = self.outcome(&id);
                (file, Some(id), Some(picture), outcome)
            }
        };
        let ImageRef {
            root,
            uri,
            bytes,
            modified,
            ..
        } = file;
        let (width, height) = picture.as_ref().and_then(|picture| picture.size).unzip();
        Row {
            uri,
            root,
            image_id,
            bytes,
            modified_at: modified,
            width,
            height,
            format: picture.map(|picture: PictureInfo| picture.format),
            outcome,
            identity: Some(self.identity.clone()),
            run_id: self.run_id,
            annotated_at: now,
        }
    }

    fn outcome(&self, id: &ImageId) -> Outcome {
        if let Some(failure) = self.reading.failure(id) {
            return Outcome::Failed(failure);
        }
        match self.captions(id) {
            Some(beams) => Outcome::Captioned(beams.to_vec()),
            // Only features were wanted, and they are there.
            None if self.captioner.is_none() => Outcome::Captioned(Vec::new()),
            None => Outcome::Failed(Failure {
                stage: Stage::Caption,
                reason: "no features were computed for it; run again to try anew".to_owned(),
            }),
        }
    }
}

/// Where a picture's features or captions are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Computed just now; the features have to be written.
    Encoder,
    Cache,
    /// The captions of the same content.
    Table,
}

type Features = HashMap<ImageId, (Origin, Vec<f32>)>;

fn computed(features: super::encoding::Features) -> Features {
    let computed = |(id, row)| (id, (Origin::Encoder, row));
    features.into_iter().map(computed).collect()
}

impl Item {
    fn image_id(&self) -> Option<ImageId> {
        match self {
            Item::Image { picture, .. } => Some(picture.image_id),
            _ => None,
        }
    }
}
