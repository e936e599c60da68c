//! Turns an archive and a table into what a run over them would do, without touching either.

use std::time::Duration;

use super::{Models, PipelineError, RunConfig, file_list};
use crate::archive::Walk;
use crate::cache::Cache;
use crate::nightly::{
    Action, Because, Plan, PlanError, RunSummary, State, StateError, Tally, runs,
};
use crate::table::{FileList, Identity, Known, Layout, LayoutError, TableError};

/// What a run would do, as far as can be told without opening a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forecast {
    /// Files that the table does not have.
    pub new: u64,
    /// Files whose size or time is another; only reading tells which of them were merely touched.
    pub changed: u64,
    /// Files that failed and are tried again.
    pub retry: u64,
    /// Files that are read though nothing about them has changed.
    pub verify: u64,
    /// Files that another model or other parameters caption from cached features.
    pub recaption: u64,
    /// Files that another model captions and that have no cached features.
    pub reread: u64,
    pub unchanged: u64,
    /// Files that failed and are not tried again.
    pub unchanged_failed: u64,
    pub deleted: u64,
    /// Files and directories that cannot be looked at.
    pub unreadable: u64,
    /// Left out by the user's filters.
    pub skipped: u64,
    pub bytes_to_read: u64,
    /// What guards would refuse, unless it has only moved, which reading would tell.
    pub findings: Vec<String>,
    /// By the rates of earlier runs; `None` if they do not tell.
    pub time: Option<Duration>,
}

impl Forecast {
    /// Files that would be opened.
    pub fn to_read(&self) -> u64 {
        self.new + self.changed + self.retry + self.verify + self.reread
    }

    /// Images that may need the encoder.
    fn for_encoder(&self) -> u64 {
        self.new + self.changed + self.retry + self.reread
    }

    /// Images that may need the captioner.
    fn for_captioner(&self) -> u64 {
        self.for_encoder() + self.recaption
    }
}

/// Tells what [`run`](super::run) would do. Takes no lock and writes nothing, so another run may be
/// at work, and the output need not exist.
///
/// # Errors
///
/// When the archive or the table cannot be read.
pub fn forecast(config: &RunConfig, models: &Models) -> Result<Forecast, PipelineError> {
    // What is compacted meanwhile takes the place of files that were listed before.
    for _ in 0..LISTINGS {
        match look(config, models) {
            Err(error) if has_vanished(&error) => tracing::debug!("listing again: {error}"),
            told => return told,
        }
    }
    look(config, models)
}

/// How often to list anew what vanishes while it is read.
const LISTINGS: usize = 5;

fn has_vanished(error: &PipelineError) -> bool {
    let file = match error {
        PipelineError::State(StateError::Table(TableError::File(file)))
        | PipelineError::Plan(PlanError::Known(TableError::File(file))) => file,
        _ => return false,
    };
    file.is_missing()
}

fn look(config: &RunConfig, models: &Models) -> Result<Forecast, PipelineError> {
    let mut walk = Walk::new(config.walk.clone())?;
    let identity = models.identity();
    let options = config.plan_options(&walk, &identity);
    let layout = match Layout::open(&config.out) {
        Ok(layout) => Some(layout),
        Err(LayoutError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let (mut known, mut cache) = (None, None);
    if let Some(layout) = &layout {
        let files = file_list(layout, models)?;
        let newer = files.as_ref().and_then(FileList::source);
        known = Some(State::peek(layout)?.known_with(newer)?);
        cache = Some(Cache::peek(layout, config.cache_spec(models))?);
    }
    let is_cached = |known: &Known| {
        let id = known.image_id.as_ref();
        id.is_some_and(|id| cache.as_ref().is_some_and(|cache| cache.contains(id)))
    };

    let mut forecast = Forecast::default();
    let mut tally = Tally::default();
    let known = known.into_iter().flatten();
    for action in Plan::new(&mut walk, known, options) {
        let action: Action = action?;
        tally.foresee(&action);
        let (count, bytes) = match &action {
            Action::New(file) => (&mut forecast.new, file.bytes),
            Action::Read { file, because, .. } => {
                let count = match because {
                    Because::Changed => &mut forecast.changed,
                    Because::Failed => &mut forecast.retry,
                    Because::Verify => &mut forecast.verify,
                };
                (count, file.bytes)
            }
            Action::Recaption { known, .. } if is_cached(known) => (&mut forecast.recaption, 0),
            Action::Recaption { file, .. } => (&mut forecast.reread, file.bytes),
            Action::Unchanged { .. } => (&mut forecast.unchanged, 0),
            Action::UnchangedFailed { .. } => (&mut forecast.unchanged_failed, 0),
            Action::Unreadable { .. } => (&mut forecast.unreadable, 0),
            Action::Deleted(_) => (&mut forecast.deleted, 0),
        };
        *count += 1;
        forecast.bytes_to_read += bytes;
    }
    forecast.skipped = walk.skipped().total();
    let earlier: Vec<RunSummary> = match &layout {
        Some(layout) => runs(layout)?.into_iter().flatten().collect(),
        None => Vec::new(),
    };
    let caption = models.captioner.is_some();
    // Features are kept by content: there is nothing that a guard could keep them out of.
    if caption && !config.guards.accept {
        let findings = config.guards.judge(&tally, &[]);
        forecast.findings = findings.iter().map(ToString::to_string).collect();
    }
    forecast.time = time(&forecast, &earlier, &identity, caption);
    Ok(forecast)
}

/// How long it would take: the stages work side by side, so as long as the slowest of them.
fn time(
    forecast: &Forecast,
    earlier: &[RunSummary],
    identity: &Identity,
    caption: bool,
) -> Option<Duration> {
    // Per second, of the last run that did such work at all.
    let rate = |of: &dyn Fn(&RunSummary) -> Option<f64>| {
        let rates = earlier.iter().rev().filter_map(of);
        rates.into_iter().find(|rate| *rate > 0.0)
    };
    let read = rate(&|run| {
        let seconds = run.stages.get("read")?.seconds;
        (seconds > 0.0).then(|| run.bytes_read as f64 / seconds)
    });
    let encode = rate(&|run| {
        let same = run.encoder_id == *identity.encoder_id;
        run.stages
            .get("encode")
            .filter(|_| same)
            .map(|stage| stage.rate)
    });
    let captions = rate(&|run| {
        let same = run.captioner_id.as_deref() == Some(&*identity.captioner_id)
            && run.decoding.as_deref() == Some(&*identity.decoding);
        run.stages
            .get("caption")
            .filter(|_| same)
            .map(|stage| stage.rate)
    });
    let mut work = vec![
        (forecast.bytes_to_read, read),
        (forecast.for_encoder(), encode),
    ];
    if caption {
        work.push((forecast.for_captioner(), captions));
    }
    let needed = work.into_iter().filter(|(amount, _)| *amount > 0);
    let seconds = needed
        .map(|(amount, rate)| Some(amount as f64 / rate?))
        .collect::<Option<Vec<_>>>()?;
    Duration::try_from_secs_f64(seconds.into_iter().fold(0.0, f64::max)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::nightly::StageTime;
    use crate::table::arbitrary::{identity, run_id};

    /// A run that read 1000 bytes a second and did so many images a second in the other stages.
    fn run(encoder_id: &str, encode: u64, caption: u64) -> RunSummary {
        let made = identity("captioner");
        let stages = BTreeMap::from([
            ("read", StageTime::new(50, 10.0)),
            ("encode", StageTime::new(10 * encode, 10.0)),
            ("caption", StageTime::new(10 * caption, 10.0)),
        ]);
        let summary = serde_json::json!({
            "run_id": run_id(1),
            "outcome": "published",
            "started": "2025-01-01T00:00:00Z",
            "finished": "2025-01-01T00:01:00Z",
            "version": "0",
            "roots": [],
            "options": {},
            "model": "demo",
            "encoder_id": encoder_id,
            "captioner_id": &*made.captioner_id,
            "decoding": &*made.decoding,
            "counts": {
                "found": 0, "captioned": 0, "failed": 0, "unchanged": 0, "unchanged_failed": 0,
                "deleted": 0, "not_images": 0, "skipped": 0, "embedded": 0, "from_cache": 0,
                "duplicates": 0,
            },
            "bytes_read": 10_000,
            "stages": stages,
            "captions": [],
            "embeddings": [],
            "warnings": [],
        });
        serde_json::from_value(summary).unwrap()
    }

    fn seconds(forecast: &Forecast, earlier: &[RunSummary]) -> Option<f64> {
        let time = time(forecast, earlier, &identity("captioner"), true);
        time.map(|time| time.as_secs_f64())
    }

    #[test]
    fn the_slowest_stage_tells_how_long_it_takes() {
        let earlier = [run("encoder", 2, 5)];
        let new = |new, bytes_to_read| Forecast {
            new,
            bytes_to_read,
            ..Forecast::default()
        };
        assert_eq!(seconds(&new(100, 1000), &earlier), Some(50.0));
        assert_eq!(seconds(&new(100, 90_000), &earlier), Some(90.0));
        let recaption = Forecast {
            recaption: 100,
            ..Forecast::default()
        };
        assert_eq!(seconds(&recaption, &earlier), Some(20.0));
        assert_eq!(seconds(&Forecast::default(), &earlier), Some(0.0));
    }

    #[test]
    fn rates_are_those_of_the_last_run_that_did_the_work() {
        let new = Forecast {
            new: 100,
            ..Forecast::default()
        };
        let quiet = run("encoder", 0, 0);
        let earlier = [run("encoder", 1, 5), run("encoder", 2, 5), quiet.clone()];
        assert_eq!(seconds(&new, &earlier), Some(50.0));
        assert_eq!(seconds(&new, &[quiet]), None);
        assert_eq!(seconds(&new, &[run("another", 2, 5)]), None);
        assert_eq!(seconds(&Forecast::default(), &[]), Some(0.0));
    }
}
