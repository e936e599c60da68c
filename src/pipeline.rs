//! Wires the stages into one run.
//!
//! ```text
//! plan thread      walk ⨝ what the table holds -> chunks of files that need work
//! read thread      rayon: bytes -> identity -> pixels of the encoder's size
//! encode thread    pixels -> features
//! this thread      features -> captions
//! write thread     features -> cache parts, rows -> table parts; then the snapshot and the summary
//! ```
//!
//! Bounded queues lie between them, so memory does not grow with the archive. Chunks keep the walk's
//! order from end to end. A bad image is data: it travels with the good ones and becomes a row.

mod budget;
mod captioning;
mod concluding;
mod encoding;
mod forecast;
mod live;
mod models;
mod reading;
mod spelling;
mod writing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chrono::Utc;
use crossbeam_channel::{Sender, bounded};

use crate::archive::{ImageRef, Limits, Walk, WalkConfig, WalkError};
use crate::cache::{self, Cache, CacheError, CacheWriter, Spec};
use crate::captioner::CaptionerError;
use crate::encoder::EncoderError;
use crate::nightly::{
    Action, Guards, Lock, LockError, ModelSource, Plan, PlanError, PlanOptions, PublicationError,
    RunSummary, State, StateError, SummaryError,
};
use crate::table::{
    FileError, FileList, FileListError, Identity, Known, Layout, LayoutError, SnapshotNotes,
    TableError,
};

use captioning::CaptioningStage;
use concluding::Conclusion;
use encoding::EncodingStage;
pub use forecast::{Forecast, forecast};
pub use live::Live;
pub use models::{DeferredCaptioner, DeferredEncoder, Load, Models};
use reading::{ReadingStage, Task};
use writing::WritingStage;

/// Chunks waiting between two stages.
const QUEUE: usize = 2;

/// What a run works on, and how.
#[derive(Debug, Clone)]
pub struct RunConfig {
    pub walk: WalkConfig,
    pub out: PathBuf,
    pub limits: Limits,
    /// Images that go through the models together.
    pub batch: usize,
    /// Rows in a part of the table; what a killed run has to do again is less.
    pub part_rows: usize,
    /// How exactly features are kept, and therefore captioned from.
    pub cache_precision: cache::Precision,
    /// Whether features that were computed are kept for later runs.
    pub keep_features: Keep,
    /// Try files again that failed before and have not changed.
    pub retry_failed: bool,
    /// Read every file, whatever its size and time say, and every feature that is kept.
    pub verify: bool,
    /// What may become current.
    pub guards: Guards,
    /// For the summary: the model's name, what encoder and captioner lie in, and the options as the
    /// user gave them.
    pub model: String,
    pub encoder_source: ModelSource,
    pub captioner_source: Option<ModelSource>,
    pub options: BTreeMap<String, serde_json::Value>,
}

/// What becomes of features once captions were made from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Features,
    /// They are too large to be worth their space: those of conv5_3 take 200 KB an image even when
    /// rounded, 25 times as much as fc7.
    Nothing,
}

impl RunConfig {
    fn plan_options(&self, walk: &Walk, identity: &Identity) -> PlanOptions {
        PlanOptions {
            roots: walk.root_names().into_iter().collect(),
            identity: identity.clone(),
            retry_failed: self.retry_failed,
            verify: self.verify,
        }
    }

    fn cache_spec(&self, models: &Models) -> Spec {
        Spec {
            encoder_id: models.encoder.id().to_owned(),
            dims: models.encoder.dimensions(),
            precision: self.cache_precision,
        }
    }
}

/// Runs the whole: from directories to a table that is current.
///
/// Setting `stop` ends the run early: what is on its way is finished and kept. `live` tells how far
/// the run is.
///
/// # Errors
///
/// When the run cannot begin, or cannot go on. What was finished until then is kept, and the next
/// run carries on from it. Images that fail are no error; they are counted and have a row.
pub fn run(
    config: &RunConfig,
    models: &mut Models,
    live: &Live,
    stop: &AtomicBool,
) -> Result<RunSummary, PipelineError> {
    let started = Utc::now();
    let mut walk = Walk::new(config.walk.clone())?;
    let roots = walk.root_names();
    let layout = Layout::create(&config.out)?;
    let lock = Lock::acquire(&layout, started)?;
    let mut state = State::open(&layout, &lock)?;
    state.repair(started)?;
    let spelling = spelling::warnings(&walk, &layout)?;
    let run_id = layout.next_run_id(started, random())?;
    let notes = SnapshotNotes {
        run_id,
        model: config.model.clone(),
    };
    let identity = models.identity();
    let cache = Arc::new(Cache::open(&layout, config.cache_spec(models))?);
    if config.verify {
        cache.verify();
    }

    let options = config.plan_options(&walk, &identity);
    let files = file_list(&layout, models)?;
    let known = state.known_with(files.as_ref().and_then(FileList::source))?;
    let plan = Plan::new(&mut walk, known, options);
    let captions = models
        .captioner
        .as_ref()
        .map(|_| state.captions(identity.clone()));
    let damaged_cache = !cache.damaged().is_empty();
    // Features that are gone are computed again, even of images whose captions stand.
    let lost_features = |known: &Known| {
        (damaged_cache || files.is_some()) && known.image_id.is_some_and(|id| !cache.contains(&id))
    };
    let reading = ReadingStage::new(
        &cache,
        captions.as_ref().filter(|_| !damaged_cache),
        identity.clone(),
        models.encoder.preprocess().clone(),
        config.limits,
        live,
    );
    let Models { encoder, captioner } = &mut *models;
    let encoding = EncodingStage::new(encoder.as_mut(), config.cache_precision, &reading, live);
    let mut captioning = CaptioningStage::new(
        captioner
            .as_ref()
            .map(|(captioner, decoding)| (captioner.as_ref(), *decoding)),
        identity,
        captions.as_ref(),
        &cache,
        (&reading, &encoding),
        run_id,
        live,
    )
    .keeping(config.keep_features, config.batch);
    let writing = WritingStage::new(
        CacheWriter::new(Arc::clone(&cache), &layout, &run_id),
        &layout,
        run_id,
        config.part_rows,
        live,
    )
    .giving_rows_to(
        files
            .as_ref()
            .map(|files| files.writer(&notes))
            .transpose()?,
    );

    let (tasks, chunks_to_read) = bounded::<Vec<Task>>(QUEUE);
    let (read, chunks_to_encode) = bounded(QUEUE);
    // Handed over, never waiting: regions are larger than the pixels that they came from.
    let (encoded, chunks_to_caption) = bounded(0);
    let (captioned, chunks_to_write) = bounded(QUEUE);
    let (planned, encoded, captioned, written) = std::thread::scope(|scope| {
        let planning =
            scope.spawn(|| send_chunks(plan, config.batch, tasks, &lost_features, live, stop));
        let reading = scope.spawn(|| reading.run(chunks_to_read, read));
        let encoding = scope.spawn(|| encoding.run(chunks_to_encode, encoded));
        let writing = scope.spawn(|| writing.run(chunks_to_write));
        let captioned = captioning.run(chunks_to_caption, captioned);
        joined(reading.join());
        (
            joined(planning.join()),
            joined(encoding.join()),
            captioned,
            joined(writing.join()),
        )
    });
    // Where a later stage failed, the earlier ones only found their queue closed.
    let parts = written?;
    captioned?;
    encoded?;
    planned?;
    live.skipped
        .store(walk.skipped().total(), Ordering::Relaxed);
    // Whoever removed or replaced the directory meanwhile does not want this table in it.
    lock.check()?;

    Conclusion {
        config,
        models,
        live,
        layout: &layout,
        state: &state,
        cache: &cache,
        files: files.as_ref(),
        notes,
        started,
        roots,
        spelling,
    }
    .of(parts)
}

/// By what files are known again of which only features are wanted.
fn file_list(layout: &Layout, models: &Models) -> Result<Option<FileList>, FileListError> {
    match models.captioner {
        Some(_) => Ok(None),
        None => FileList::open(layout, models.encoder.id()).map(Some),
    }
}

/// Sends what the plan finds in chunks of `batch`, so that the models get whole batches.
fn send_chunks<K>(
    plan: Plan<&mut Walk, K>,
    batch: usize,
    tasks: Sender<Vec<Task>>,
    lost_features: &impl Fn(&Known) -> bool,
    live: &Live,
    stop: &AtomicBool,
) -> Result<(), PipelineError>
where
    K: Iterator<Item = Result<Known, TableError>>,
{
    let mut chunk = Vec::with_capacity(batch);
    let mut since = Instant::now();
    let mut stopped = false;
    for action in plan {
        if stop.load(Ordering::Relaxed) {
            stopped = true;
            break;
        }
        let Some(task) = task(action?, lost_features, live) else {
            continue;
        };
        chunk.push(task);
        if chunk.len() == batch {
            live.walk.add(batch, since.elapsed());
            if tasks
                .send(std::mem::replace(&mut chunk, Vec::with_capacity(batch)))
                .is_err()
            {
                return Ok(());
            }
            since = Instant::now();
        }
    }
    live.walk.add(chunk.len(), since.elapsed());
    live.walked.store(!stopped, Ordering::Relaxed);
    // A closed queue means that a later stage has failed, which says why.
    let _ = tasks.send(chunk);
    Ok(())
}

/// The work that an action asks for, if any.
fn task(action: Action, lost_features: impl Fn(&Known) -> bool, live: &Live) -> Option<Task> {
    if !matches!(action, Action::Deleted(_)) {
        live::count(&live.found);
    }
    match action {
        Action::New(file) => Some(Task::New(file)),
        Action::Read {
            file,
            known,
            because,
        } => Some(Task::Read {
            file,
            known,
            because,
        }),
        Action::Recaption { file, known } => Some(Task::Recaption { file, known }),
        Action::Unchanged { file, known } if lost_features(&known) => {
            Some(Task::Recaption { file, known })
        }
        Action::Unchanged { .. } => {
            live::count(&live.unchanged);
            None
        }
        Action::UnchangedFailed { .. } => {
            live::count(&live.unchanged);
            live::count(&live.unchanged_failed);
            None
        }
        Action::Unreadable { root, uri, reason } => {
            // Nobody knows its size or its time.
            let file = ImageRef {
                root,
                uri,
                path: PathBuf::new(),
                bytes: 0,
                modified: 0,
            };
            Some(Task::Unreadable { file, reason })
        }
        Action::Deleted(known) => Some(Task::Deleted(known)),
    }
}

/// What a thread returned; its panic goes on here.
fn joined<T>(result: std::thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Tells apart runs that begin in the same second.
fn random() -> u16 {
    rand::random()
}

/// Why a run could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Walk(#[from] WalkError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Plan(#[from] PlanError<TableError>),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    FileList(#[from] FileListError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Publication(#[from] PublicationError),
    #[error(transparent)]
    Summary(#[from] SummaryError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Captioner(#[from] CaptionerError),
}
