//! Turns a report into lines for a person: a mark, a name, and what is to be said of it.
//!
//! It stands apart from the examination so that what is found out and how it is put are two things.

use std::io::{self, Write};

use indicatif::{BinaryBytes, DecimalBytes};
use showtell::encoder::device::{Cpu, Cuda, Gpu, Runtime};
use showtell::hub::{Description, State};

use super::{Report, Trial, Weights};

/// How the marks are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Marks {
    Signs,
    Ascii,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// There, and it works.
    Good,
    /// Not there; showtell works without.
    Absent,
    /// There, and it does not work; or needed, and not there.
    Bad,
}

impl Marks {
    fn of(self, mark: Mark) -> &'static str {
        match (self, mark) {
            (Marks::Signs, Mark::Good) => "✓",
            (Marks::Signs, Mark::Absent) => "–",
            (Marks::Signs, Mark::Bad) => "✗",
            (Marks::Ascii, Mark::Good) => "[ok]",
            (Marks::Ascii, Mark::Absent) => "[--]",
            (Marks::Ascii, Mark::Bad) => "[!!]",
        }
    }
}

impl Report {
    /// One line for each thing, then what to do next.
    pub(super) fn write(&self, marks: Marks, out: &mut dyn Write) -> io::Result<()> {
        for (mark, name, text) in self.lines() {
            writeln!(out, "{} {name:<11}{text}", marks.of(mark))?;
        }
        match &self.next {
            Some(next) => writeln!(out, "Next: {next}"),
            None => writeln!(out, "Nothing is missing."),
        }
    }

    fn lines(&self) -> Vec<(Mark, &'static str, String)> {
        let mut lines = vec![(Mark::Good, "showtell", self.version.to_string())];
        lines.push((
            match self.libtorch.libtorch_folder {
                Some(_) => Mark::Good,
                None => Mark::Absent,
            },
            "libtorch",
            format!(
                "{}, {}, {}",
                self.libtorch
                    .libtorch_version
                    .as_deref()
                    .unwrap_or("of unknown version"),
                match self.libtorch.cuda {
                    Cuda::Loaded { .. } => "CPU and CUDA",
                    _ => "CPU",
                },
                match &self.libtorch.libtorch_folder {
                    Some(folder) => folder.display().to_string(),
                    None => "in an unknown folder".into(),
                }
            ),
        ));
        lines.extend(gpu_lines(&self.libtorch));
        let features = self.processor.features();
        lines.push((
            Mark::Good,
            "processor",
            format!(
                "{}, {} threads, {}",
                self.processor.model.as_deref().unwrap_or("unknown"),
                self.processor.threads,
                match features.is_empty() {
                    true => "neither AVX2 nor AVX-512: slow".to_string(),
                    false => features.join(", "),
                }
            ),
        ));
        lines.extend(
            self.computes
                .iter()
                .flat_map(|trial| trial.lines(&self.processor)),
        );
        lines.push(match self.memory {
            Some(memory) => (
                Mark::Good,
                "memory",
                format!(
                    "{} free of {}",
                    BinaryBytes(memory.available),
                    BinaryBytes(memory.total)
                ),
            ),
            None => (Mark::Absent, "memory", "unknown".into()),
        });
        for disk in &self.disks {
            let mark = match disk.free < 1_000_000_000 {
                true => Mark::Absent,
                false => Mark::Good,
            };
            let text = format!(
                "{} free for {}: {}",
                DecimalBytes(disk.free),
                disk.what_for,
                disk.path.display()
            );
            lines.push((mark, "disk", text));
        }
        if self.models.is_empty() {
            lines.push((Mark::Bad, "model", "none".into()));
        }
        for model in &self.models {
            let folder = model.folder.display();
            lines.push(match &model.description {
                Description::Readable(_) => {
                    (Mark::Good, "model", format!("{}, {folder}", model.name))
                }
                Description::Unreadable(reason) => {
                    let reason = reason.lines().next().unwrap_or_default();
                    (
                        Mark::Bad,
                        "model",
                        format!("{}, {folder}: {reason}", model.name),
                    )
                }
            });
        }
        // Of weights that were never asked for one name is enough of a hint.
        let shown = |weights: &&Weights| weights.name == "vgg16" || weights.state != State::Absent;
        lines.extend(self.weights.iter().filter(shown).map(Weights::line));
        lines.push(match self.terminal {
            true => (Mark::Good, "terminal", "yes: progress is a bar".into()),
            false => (Mark::Absent, "terminal", "no: progress is log lines".into()),
        });
        lines
    }
}

impl Trial {
    fn lines(&self, processor: &Cpu) -> Vec<(Mark, &'static str, String)> {
        let faults = self
            .faults
            .iter()
            .map(|fault| (Mark::Bad, "precision", fault.clone()));
        if self.precisions.is_empty() {
            return faults.collect();
        }
        let mut text = format!("{}: {}", self.device, self.precisions.join(", "));
        if let Some(auto) = &self.auto {
            text += &format!("; auto takes {auto}");
        }
        if self.device == "cpu" && !processor.computes_bf16() {
            text += "; bf16 is slow, this processor has no units for it";
        }
        std::iter::once((Mark::Good, "precision", text))
            .chain(faults)
            .collect()
    }
}

fn gpu_lines(runtime: &Runtime) -> Vec<(Mark, &'static str, String)> {
    let describe = |gpu: &Gpu| {
        let mut text = format!(
            "cuda:{} {}",
            gpu.index,
            gpu.name.as_deref().unwrap_or("of unknown name")
        );
        if let Some(memory) = gpu.memory {
            text += &format!(", {}", BinaryBytes(memory));
        }
        if let Some((major, minor)) = gpu.capability {
            text += &format!(", compute capability {major}.{minor}");
        }
        text
    };
    match &runtime.cuda {
        Cuda::Loaded {
            devices, driver, ..
        } => {
            let driver = driver.map_or(String::new(), |version| {
                format!(", driver for CUDA {version}")
            });
            let line = |gpu| (Mark::Good, "GPU", describe(gpu) + &driver);
            devices.iter().map(line).collect()
        }
        Cuda::NoDriver { reason } => vec![(Mark::Absent, "GPU", format!("not used: {reason}"))],
        Cuda::Failed { reason } => vec![(Mark::Bad, "GPU", format!("not used: {reason}"))],
        Cuda::NotPresent { gpus, .. } => {
            let why = runtime.why_no_cuda().unwrap_or_default();
            let line = |gpu| {
                (
                    Mark::Bad,
                    "GPU",
                    format!("{} is not used: {why}", describe(gpu)),
                )
            };
            gpus.iter().map(line).collect()
        }
    }
}

impl Weights {
    fn line(&self) -> (Mark, &'static str, String) {
        match &self.state {
            State::Present { path, .. } => (
                Mark::Good,
                "weights",
                format!("{}, {}", self.name, path.display()),
            ),
            State::Partial { bytes, .. } => (
                Mark::Absent,
                "weights",
                format!(
                    "{0}: {1} here, `showtell model get {0}` fetches the rest",
                    self.name,
                    DecimalBytes(*bytes)
                ),
            ),
            State::Absent => (
                Mark::Absent,
                "weights",
                format!("{0}: `showtell model get {0}`", self.name),
            ),
        }
    }
}

/// By the rules of locale(7), the first of these that is set counts.
pub(super) fn speaks_unicode() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}
