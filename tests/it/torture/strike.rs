//! Kills a run at a moment drawn by chance, and tells where that has hit it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::RecordBatchReader;
use arrow::ipc::reader::FileReader;
use nix::sys::signal;
use nix::unistd::Pid;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::archive::Archive;
use super::table;
use super::trial::Trial;
use super::watch::{Step, Watch};

/// When to strike.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// After this share of the time that the last whole run took.
    Share(f64),
    /// A while after so many steps in the output directory.
    Step(usize, Duration),
    /// A while after the file is begun or has its name.
    File(Landmark, Duration),
}

#[derive(Debug, Clone, Copy)]
pub enum Landmark {
    SnapshotBegun,
    SnapshotNamed,
    SummaryNamed,
    ReplacementNamed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    Kill,
    Interrupt,
    InterruptTwice,
}

/// What the run had left on disk when it was struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing yet.
    Start,
    /// Perhaps features, but no rows.
    BeforeFirstPart,
    /// Rows, and perhaps all of them.
    AfterSomePart,
    /// A half-written snapshot.
    InSnapshot,
    /// The snapshot under its name.
    BeforeSummary,
    /// Everything.
    AfterSummary,
}

/// How long a whole run takes, and how many steps in its directory.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub length: Duration,
    pub steps: usize,
}

impl Moment {
    /// Spread over the whole run, but denser where files are written.
    pub fn draw(random: &mut ChaCha8Rng, pace: Pace) -> Self {
        let mut while_after = |longest: u64| Duration::from_micros(random.random_range(0..longest));
        let soon = while_after(3000);
        match random.random_range(0..100) {
            0..8 => Moment::Share(random.random_range(0.0..0.25)),
            8..34 => Moment::Share(random.random_range(0.0..1.1)),
            34..68 => Moment::Step(random.random_range(1..=pace.steps.max(20)), soon),
            68..80 => Moment::File(Landmark::SnapshotBegun, soon),
            80..92 => Moment::File(Landmark::SnapshotNamed, soon),
            _ => Moment::File(Landmark::SummaryNamed, soon),
        }
    }

    /// As [`draw`](Self::draw), of a compaction.
    pub fn draw_in_compaction(random: &mut ChaCha8Rng, pace: Pace) -> Self {
        let soon = Duration::from_micros(random.random_range(0..2000));
        match random.random_range(0..100) {
            0..20 => Moment::Share(random.random_range(0.0..1.1)),
            20..60 => Moment::Step(random.random_range(1..=pace.steps.max(1)), soon),
            _ => Moment::File(Landmark::ReplacementNamed, soon),
        }
    }
}

impl Landmark {
    fn is_at(self, step: &Step) -> bool {
        let name = step.path.file_name().unwrap().to_string_lossy();
        match self {
            Landmark::SnapshotBegun => name == ".captions.arrow.tmp",
            Landmark::SnapshotNamed => name == "captions.arrow",
            Landmark::SummaryNamed => name.ends_with(".json") && !name.starts_with('.'),
            Landmark::ReplacementNamed => name == ".replacement.json",
        }
    }
}

impl Signal {
    pub fn draw(random: &mut ChaCha8Rng) -> Self {
        match random.random_range(0..100) {
            0..85 => Signal::Kill,
            85..95 => Signal::Interrupt,
            _ => Signal::InterruptTwice,
        }
    }

    fn send(self, child: &mut Child) {
        match self {
            // No error if it has ended.
            Signal::Kill => child.kill().unwrap(),
            Signal::Interrupt => interrupt(child),
            Signal::InterruptTwice => {
                interrupt(child);
                thread::sleep(Duration::from_millis(1));
                interrupt(child);
            }
        }
        let status = child.wait().unwrap();
        let (code, signal) = (status.code(), status.signal());
        let as_expected = match self {
            Signal::Kill => signal == Some(9) || matches!(code, Some(0 | 1)),
            // The signal itself ends it before it listens for it.
            _ => signal == Some(2) || matches!(code, Some(0 | 1 | 130)),
        };
        assert!(as_expected, "{self:?} gave {status:?}");
    }
}

/// Sends any signal; nothing happens if the child has ended.
pub fn send(child: &Child, signal: signal::Signal) {
    let _ = signal::kill(Pid::from_raw(child.id().cast_signed()), signal);
}

fn interrupt(child: &Child) {
    send(child, signal::Signal::SIGINT);
}

/// Starts a run and strikes it; `None` if it ended before the moment came.
pub fn strike(trial: &Trial, pace: Pace, moment: Moment, signal: Signal) -> Option<Phase> {
    let before = trial.runs();
    let mut watch = Watch::new(&trial.out);
    if !strike_child(&mut watch, trial.start(), pace, moment, signal) {
        return None;
    }
    let is_new = |run: &str| !before.contains(run);
    Some(phase(trial, is_new))
}

/// Strikes a program that has just been started; says whether it still ran at that moment.
pub fn strike_child(
    watch: &mut Watch,
    mut child: Child,
    pace: Pace,
    moment: Moment,
    signal: Signal,
) -> bool {
    let started = Instant::now();
    let mut steps = 0;
    let due = |step: Option<&Step>| match moment {
        Moment::Share(share) => started.elapsed() >= pace.length.mul_f64(share),
        Moment::Step(number, _) => {
            steps += usize::from(step.is_some());
            steps >= number
        }
        Moment::File(landmark, _) => step.is_some_and(|step| landmark.is_at(step)),
    };
    if !watch.follow(&mut child, due) {
        child.wait().unwrap();
        return false;
    }
    if let Moment::Step(_, later) | Moment::File(_, later) = moment {
        thread::sleep(later);
    }
    if child.try_wait().unwrap().is_some() {
        return false;
    }
    signal.send(&mut child);
    true
}

fn phase(trial: &Trial, is_new: impl Fn(&str) -> bool) -> Phase {
    let out = &trial.out;
    if table::summaries(out).iter().any(|(run, _)| is_new(run)) {
        return Phase::AfterSummary;
    }
    if snapshot_run(trial).is_some_and(|run| is_new(&run)) {
        return Phase::BeforeSummary;
    }
    if out.join(".captions.arrow.tmp").exists() {
        return Phase::InSnapshot;
    }
    let new_run = table::runs(out).into_iter().find(|run| is_new(run));
    if new_run.is_some_and(|run| !table::written(out, &run).is_empty()) {
        return Phase::AfterSomePart;
    }
    let features = walkdir::WalkDir::new(out.join("embeddings"));
    let features = features.into_iter().flatten();
    let anything = features.into_iter().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name
            .trim_start_matches('.')
            .strip_prefix("part-")
            .map(str::to_owned);
        rest.is_some_and(|rest| rest.get(..21).is_some_and(&is_new))
    });
    match anything {
        true => Phase::BeforeFirstPart,
        false => Phase::Start,
    }
}

/// The run whose rows `captions.arrow` says it holds.
fn snapshot_run(trial: &Trial) -> Option<String> {
    let file = File::open(trial.out.join("captions.arrow")).ok()?;
    let reader = FileReader::try_new(file, None).unwrap();
    let notes = RecordBatchReader::schema(&reader).metadata().clone();
    notes.get("showtell.run_id").cloned()
}

/// Runs to the end, looking on; `disturb` is called after each step.
pub fn run_watched(trial: &mut Trial, mut disturb: impl FnMut(usize, &mut Archive)) -> Pace {
    let mut watch = Watch::new(&trial.out);
    let started = Instant::now();
    let mut child = trial.start();
    let mut steps = 0;
    watch.follow(&mut child, |step| {
        if step.is_some() {
            steps += 1;
            disturb(steps, &mut trial.archive);
        }
        false
    });
    let status = child.wait().unwrap();
    let length = started.elapsed();
    assert!(
        matches!(status.code(), Some(0 | 1)),
        "{status:?}\n{}",
        trial.said()
    );
    Pace { length, steps }
}

/// Runs the command, which has to succeed, looking on what it does to `out`.
pub fn watched(out: &Path, mut command: Command) -> Pace {
    let mut watch = Watch::new(out);
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut steps = 0;
    watch.follow(&mut child, |step| {
        steps += usize::from(step.is_some());
        false
    });
    assert!(child.wait().unwrap().success());
    Pace {
        length: started.elapsed(),
        steps,
    }
}

/// Where strikes have hit.
#[derive(Default)]
pub struct Tally {
    hits: BTreeMap<(Phase, Signal), usize>,
    /// Strikes of which the run left a half-written file.
    half_written: usize,
    late: usize,
}

impl Tally {
    pub fn add(&mut self, phase: Option<Phase>, signal: Signal, trial: &Trial) {
        match phase {
            Some(phase) => *self.hits.entry((phase, signal)).or_default() += 1,
            None => self.late += 1,
        }
        self.half_written += usize::from(!table::temporaries(&trial.out).is_empty());
    }

    /// How many runs were killed by `SIGKILL`.
    pub fn kills(&self) -> usize {
        let kills = self
            .hits
            .iter()
            .filter(|((_, signal), _)| *signal == Signal::Kill);
        kills.map(|(_, count)| count).sum()
    }

    /// How many runs were killed by `SIGKILL` in `phase`.
    pub fn kills_in(&self, phase: Phase) -> usize {
        self.hits.get(&(phase, Signal::Kill)).copied().unwrap_or(0)
    }
}

impl Phase {
    pub const ALL: [Phase; 6] = [
        Phase::Start,
        Phase::BeforeFirstPart,
        Phase::AfterSomePart,
        Phase::InSnapshot,
        Phase::BeforeSummary,
        Phase::AfterSummary,
    ];
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18}{:>6}{:>11}{:>17}",
            "struck", "Kill", "Interrupt", "InterruptTwice"
        )?;
        for phase in Phase::ALL {
            let count = |signal| self.hits.get(&(phase, signal)).copied().unwrap_or(0);
            writeln!(
                f,
                "{:<18}{:>6}{:>11}{:>17}",
                format!("{phase:?}"),
                count(Signal::Kill),
                count(Signal::Interrupt),
                count(Signal::InterruptTwice),
            )?;
        }
        write!(
            f,
            "{} of them left a half-written file; {} came too late",
            self.half_written, self.late
        )
    }
}
