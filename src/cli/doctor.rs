//! `showtell doctor`: tells what this machine has, what of it showtell can use, and what to do next.
//!
//! One line for each thing, so that it can be pasted into a question; `--json` for machines.

mod lines;
mod memory;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use showtell::encoder::device::{Cpu, Cuda, DeviceChoice, Precision, Runtime, load_cuda, try_out};
use showtell::hub::{self, Description, FoundModel, REGISTRY, State};

use self::lines::{Marks, speaks_unicode};
use self::memory::Memory;
use super::model::{model_folders, user_store};

/// Tells what this machine has, what of it showtell can use, and what to do next
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Whether showtell can caption images on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Usable,
    Unusable,
}

/// Runs `showtell doctor`. `out` is standard output. To be called before any tensor is made.
///
/// # Errors
/// Those of writing to `out`.
pub fn run(args: &DoctorArgs, out: &mut dyn Write) -> anyhow::Result<Verdict> {
    let report = Report::examine();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        let marks = match io::stdout().is_terminal() && speaks_unicode() {
            true => Marks::Signs,
            false => Marks::Ascii,
        };
        report.write(marks, out)?;
    }
    Ok(report.verdict)
}

/// All that was found out.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    program: Option<PathBuf>,
    libtorch: Runtime,
    processor: Cpu,
    computes: Vec<Trial>,
    memory: Option<Memory>,
    disks: Vec<Disk>,
    models: Vec<FoundModel>,
    weights: Vec<Weights>,
    /// Whether standard error is a terminal, and so shows a progress bar.
    terminal: bool,
    verdict: Verdict,
    /// What to do next, if anything.
    next: Option<String>,
}

/// What came of computing on a device.
#[derive(Debug, Serialize)]
struct Trial {
    device: String,
    /// The precisions that compute.
    precisions: Vec<String>,
    /// What `--precision auto` takes.
    auto: Option<String>,
    /// Why a precision that should compute does not.
    faults: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Disk {
    what_for: &'static str,
    path: PathBuf,
    /// Bytes.
    free: u64,
}

#[derive(Debug, Serialize)]
struct Weights {
    name: &'static str,
    #[serde(flatten)]
    state: State,
}

impl Report {
    fn examine() -> Report {
        let libtorch = load_cuda().clone();
        let store = user_store();
        let here = std::env::current_dir().ok();
        let cache = store.as_ref().map(|store| store.folder().to_path_buf());
        let disks = [("here", here), ("fetched weights", cache)];
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION"),
            program: std::env::current_exe().ok(),
            processor: Cpu::detect(),
            computes: try_devices(&libtorch),
            memory: Memory::of_this_process(),
            disks: disks
                .into_iter()
                .filter_map(|(what_for, path)| Disk::at(what_for, path?))
                .collect(),
            models: hub::find_models(&model_folders()),
            weights: REGISTRY
                .iter()
                .map(|entry| Weights {
                    name: entry.name,
                    state: store
                        .as_ref()
                        .map_or(State::Absent, |store| store.state(entry)),
                })
                .collect(),
            terminal: io::stderr().is_terminal(),
            libtorch,
            verdict: Verdict::Usable,
            next: None,
        };
        report.conclude();
        report
    }

    /// Judges: the one thing to do next is the first that stands in the way.
    fn conclude(&mut self) {
        let computes = self
            .computes
            .iter()
            .any(|trial| trial.precisions.iter().any(|name| name == "fp32"));
        let has_model = self.models.iter().any(is_readable);
        self.verdict = match computes && has_model {
            true => Verdict::Usable,
            false => Verdict::Unusable,
        };
        let fetched = |name: &str| {
            let is_here = |state: &State| matches!(state, State::Present { .. });
            self.weights
                .iter()
                .any(|weights| weights.name == name && is_here(&weights.state))
        };
        self.next = if !computes {
            Some("libtorch does not compute on this machine: build showtell again with `make`, or with LIBTORCH \
                  set to another libtorch of the same version".into())
        } else if !has_model {
            Some("no model is found: run showtell where data/models is, name its folder with --model DIR, or \
                  set SHOWTELL_MODELS to the folder that holds it".into())
        } else if let Some(advice) = gpu_advice(&self.libtorch) {
            Some(advice)
        } else if !fetched("vgg16") {
            Some("for VGG-16 on photographs: `showtell model get vgg16`".into())
        } else {
            None
        };
    }
}

fn is_readable(model: &FoundModel) -> bool {
    matches!(model.description, Description::Readable(_))
}

/// Computes on every device in every precision that it should have.
fn try_devices(runtime: &Runtime) -> Vec<Trial> {
    let mut devices = vec![DeviceChoice::Cpu];
    if let Cuda::Loaded { devices: gpus, .. } = &runtime.cuda {
        devices.extend((0..gpus.len()).map(DeviceChoice::Cuda));
    }
    devices
        .into_iter()
        .map(|choice| Trial::on(choice, runtime))
        .collect()
}

impl Trial {
    fn on(choice: DeviceChoice, runtime: &Runtime) -> Trial {
        let mut trial = Trial {
            device: choice.to_string(),
            precisions: Vec::new(),
            auto: None,
            faults: Vec::new(),
        };
        let device = match choice.resolve(runtime) {
            Ok(device) => device,
            Err(error) => {
                trial.faults.push(error.to_string());
                return trial;
            }
        };
        let cpu = Cpu::detect();
        let auto = Precision::Auto.resolve(device, runtime, &cpu).ok();
        for precision in [Precision::Fp32, Precision::Bf16, Precision::Fp16] {
            // What the device has no units for is not a fault.
            let Ok(kind) = precision.resolve(device, runtime, &cpu) else {
                continue;
            };
            match try_out(device, kind) {
                Ok(()) => trial.precisions.push(precision.to_string()),
                Err(error) => trial.faults.push(error.to_string()),
            }
            if Some(kind) == auto {
                trial.auto = Some(precision.to_string());
            }
        }
        trial
    }
}

fn gpu_advice(runtime: &Runtime) -> Option<String> {
    match &runtime.cuda {
        Cuda::Loaded { .. } | Cuda::NoDriver { .. } => None,
        Cuda::Failed { reason } => Some(format!("images go through the CPU, because {reason}")),
        Cuda::NotPresent { .. } => {
            let folder = runtime.libtorch_folder.as_deref().and_then(Path::parent)?;
            Some(format!(
                "to use the GPU: `python3 scripts/libtorch.py --into {} --cuda yes` fetches its libraries",
                folder.display()
            ))
        }
    }
}

impl Disk {
    fn at(what_for: &'static str, path: PathBuf) -> Option<Disk> {
        let free = hub::free_space(&path).ok()?;
        Some(Disk {
            what_for,
            path,
            free,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use showtell::encoder::device::Gpu;

    fn report(cuda: Cuda, precisions: &[&str]) -> Report {
        let mut report = Report {
            version: "1.2.3",
            program: None,
            libtorch: Runtime {
                libtorch_version: Some("2.11.0".into()),
                libtorch_folder: Some("/lt/lib".into()),
                cuda,
            },
            processor: Cpu {
                model: Some("Processor".into()),
                threads: 8,
                avx2: true,
                avx512: false,
                avx512_bf16: false,
                amx_bf16: false,
            },
            computes: vec![Trial {
                device: "cpu".into(),
                precisions: precisions.iter().map(|name| name.to_string()).collect(),
                auto: Some("fp32".into()),
                faults: Vec::new(),
            }],
            memory: None,
            disks: Vec::new(),
            models: vec![FoundModel {
                name: "demo".into(),
                folder: "/models/demo".into(),
                description: Description::Readable(Default::default()),
            }],
            weights: vec![Weights {
                name: "vgg16",
                state: State::Absent,
            }],
            terminal: false,
            verdict: Verdict::Usable,
            next: None,
        };
        report.conclude();
        report
    }

    fn no_driver() -> Cuda {
        Cuda::NoDriver {
            reason: "there is no NVIDIA driver on this machine".into(),
        }
    }

    fn text(report: &Report) -> String {
        let mut out = Vec::new();
        report.write(Marks::Ascii, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_machine_without_a_gpu_is_usable() {
        let report = report(no_driver(), &["fp32", "bf16"]);
        assert_eq!(report.verdict, Verdict::Usable);
        assert_eq!(
            text(&report),
            "\
[ok] showtell   1.2.3
[ok] libtorch   2.11.0, CPU, /lt/lib
[--] GPU        not used: there is no NVIDIA driver on this machine
[ok] processor  Processor, 8 threads, AVX2
[ok] precision  cpu: fp32, bf16; auto takes fp32; bf16 is slow, this processor has no units for it
[--] memory     unknown
[ok] model      demo, /models/demo
[--] weights    vgg16: `showtell model get vgg16`
[--] terminal   no: progress is log lines
Next: for VGG-16 on photographs: `showtell model get vgg16`
"
        );
    }

    #[test]
    fn the_first_thing_in_the_way_comes_next() {
        let mut broken = report(no_driver(), &[]);
        assert_eq!(broken.verdict, Verdict::Unusable);
        assert!(
            broken
                .next
                .as_deref()
                .unwrap()
                .starts_with("libtorch does not compute")
        );

        broken.computes[0].precisions = vec!["fp32".into()];
        broken.models.clear();
        broken.conclude();
        assert_eq!(broken.verdict, Verdict::Unusable);
        assert!(broken.next.as_deref().unwrap().starts_with("no model"));
        assert!(text(&broken).contains("[!!] model      none"));

        let mut complete = report(no_driver(), &["fp32"]);
        complete.weights[0].state = State::Present {
            path: "/w".into(),
            bytes: 1,
        };
        complete.conclude();
        assert!(text(&complete).ends_with("Nothing is missing.\n"));
    }

    #[test]
    fn a_gpu_that_is_not_used_is_named_with_the_remedy() {
        let gpu = Gpu {
            index: 0,
            name: Some("NVIDIA H100".into()),
            memory: Some(80 << 30),
            capability: Some((9, 0)),
        };
        let missing = Cuda::NotPresent {
            searched: vec!["/lt/cuda/torch/lib/libtorch_cuda.so".into()],
            gpus: vec![gpu.clone()],
        };
        let lines = text(&report(missing, &["fp32"]));
        assert!(
            lines.contains(
                "[!!] GPU        cuda:0 NVIDIA H100, 80.00 GiB, compute capability 9.0 is not used: \
                 libtorch's CUDA library is missing: /lt/cuda/torch/lib/libtorch_cuda.so\n"
            ),
            "{lines}"
        );
        assert!(
            lines.contains("libtorch.py --into /lt --cuda yes"),
            "{lines}"
        );

        let loaded = Cuda::Loaded {
            library: "/lt/cuda/torch/lib/libtorch_cuda.so".into(),
            driver: None,
            devices: vec![gpu],
        };
        let lines = text(&report(loaded, &["fp32"]));
        assert!(
            lines.contains("[ok] GPU        cuda:0 NVIDIA H100, 80.00 GiB"),
            "{lines}"
        );
        assert!(lines.contains("2.11.0, CPU and CUDA"), "{lines}");
    }

    #[test]
    fn this_machine_is_examined() {
        let report = Report::examine();
        assert_eq!(report.computes[0].device, "cpu");
        assert!(report.computes[0].precisions.contains(&"fp32".to_string()));
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["libtorch"]["cuda"]["state"].is_string());
    }
}
