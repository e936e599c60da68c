//! Our side of `make bench-peers`: does what benches/peers/run.py asks for, and says how long it took.
//!
//! A request is a line of JSON on the standard input, an answer one on the standard output. What is
//! asked for twice is done twice; only weights stay. Files and figures cross as raw little-endian
//! f32, so that both sides can be seen to have done the same.

// Trainings have ways of their own.
#[allow(dead_code)]
#[path = "../src/cli/allocator.rs"]
mod allocator;
#[path = "made/files.rs"]
mod files;
// benches/stages.rs takes the rest of it.
#[allow(dead_code)]
mod made;

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use showtell::archive::{self, Hidden, ImageId, ImageRef, Limits, LoadOutcome, WalkConfig};
use showtell::cache::{self, Cache, CacheWriter, Spec};
use showtell::captioner::show_tell::{ShowTell, ShowTellConfig};
use showtell::captioner::vocabulary::Vocabulary;
use showtell::captioner::{Captioner, Decoding};
use showtell::encoder::device::{DeviceChoice, LazyDevice, Precision, load_cuda, try_out};
use showtell::encoder::preprocess::Preprocess;
use showtell::encoder::{Encoder, EncoderConfig, load, load_on};
use showtell::nightly::{Guards, ModelSource};
use showtell::pipeline::{self, Keep, Live, Models, RunConfig};
use showtell::table::{Layout, PART_ROWS};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Request {
    /// Computes on this device from now on, if it really can; tells what it is.
    Device { device: String },
    /// Writes photographs, weights and features. Not timed by the script.
    Make(files::Wanted),
    /// Writes files as squares of 224 pixels. Not timed by the script.
    Squares { files: Vec<PathBuf>, into: PathBuf },
    /// Reads a VGG-16 of torchvision's layout. Not timed by the script.
    Encoder {
        weights: PathBuf,
        precision: String,
        /// As a run does it, so that a device can get the next batch while it computes.
        #[serde(default)]
        ahead: bool,
    },
    /// Reads a Show and Tell. Not timed by the script.
    Captioner {
        config: ShowTellConfig,
        vocabulary: PathBuf,
        weights: PathBuf,
    },
    /// Files to squares of 224 pixels, one after another or on all cores.
    Decode {
        files: Vec<PathBuf>,
        #[serde(default)]
        together: bool,
    },
    /// Files to fc7, the next batch decoded meanwhile.
    Fc7 {
        files: Vec<PathBuf>,
        batch: usize,
        into: PathBuf,
    },
    /// The network alone, on squares that are in memory: these, or grey ones.
    Model {
        /// Whether the next batch may begin before the last one's features are there.
        #[serde(default)]
        ahead: bool,
        count: usize,
        batch: usize,
        pixels: Option<PathBuf>,
        into: Option<PathBuf>,
    },
    /// Features to captions.
    Beam {
        features: PathBuf,
        decoding: Decoding,
        repeats: Option<usize>,
    },
    CacheWrite {
        features: PathBuf,
        dims: usize,
        out: PathBuf,
    },
    CacheRead {
        count: usize,
        dims: usize,
        out: PathBuf,
    },
    /// Everything from the walk to the files, as `showtell embed` does it; with a decoding as `showtell
    /// annotate` does.
    Archive {
        directory: PathBuf,
        out: PathBuf,
        batch: Option<usize>,
        decoding: Option<Decoding>,
    },
}

#[derive(Serialize, Default)]
struct Answer {
    seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    captions: Vec<String>,
    /// Of a run, by stage: seconds that it was busy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<(String, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Of a device, or of files that were made.
    #[serde(flatten)]
    more: serde_json::Map<String, serde_json::Value>,
}

struct Side {
    device: DeviceChoice,
    encoder: Option<Box<dyn Encoder>>,
    captioner: Option<Box<dyn Captioner>>,
}

fn main() -> Outcome<()> {
    allocator::keep_memory_level();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let mut side = Side {
        device: DeviceChoice::Cpu,
        encoder: None,
        captioner: None,
    };
    for line in std::io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        let answer = side.answer(request).unwrap_or_else(|error| Answer {
            error: Some(whole(error.as_ref())),
            ..Answer::default()
        });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

/// What went wrong, and why; without libtorch's stack traces.
fn whole(error: &dyn Error) -> String {
    let mut reasons = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        reasons.push(text.lines().next().unwrap_or_default().to_owned());
        next = error.source();
    }
    reasons.join(": ")
}

impl Side {
    fn answer(&mut self, request: Request) -> Outcome<Answer> {
        let started = Instant::now();
        let mut answer = Answer::default();
        match request {
            Request::Device { device } => {
                self.device = device.parse()?;
                let (device, kind) = LazyDevice::new(self.device, Precision::Auto).get()?;
                try_out(device, kind)?;
                let precision = match kind {
                    tch::Kind::Half => "fp16",
                    tch::Kind::BFloat16 => "bf16",
                    _ => "fp32",
                };
                answer.more.insert("precision".to_owned(), precision.into());
                let libtorch = serde_json::to_value(load_cuda())?;
                answer.more.insert("libtorch".to_owned(), libtorch);
            }
            Request::Make(wanted) => answer.more = files::make(&wanted)?,
            Request::Squares { files, into } => fs::write(into, squares(&files)?.concat())?,
            Request::Encoder {
                weights,
                precision,
                ahead,
            } => {
                let precision: Precision = precision.parse()?;
                let (device, kind) = LazyDevice::new(self.device, precision).get()?;
                // The other goes first: two full-size networks are more than one needs.
                self.encoder = None;
                let config = EncoderConfig::vgg16();
                self.encoder = Some(match ahead {
                    true => load_on(&config, &weights, &[device], kind)?,
                    false => load(&config, &weights, device, kind)?,
                });
            }
            Request::Captioner {
                config,
                vocabulary,
                weights,
            } => {
                let vocabulary = Vocabulary::read(&vocabulary)?;
                let (device, _) = LazyDevice::new(self.device, Precision::Fp32).get()?;
                let captioner = ShowTell::load(&config, vocabulary, &weights, device)?;
                self.captioner = Some(Box::new(captioner));
            }
            Request::Decode {
                files,
                together: true,
            } => {
                let preprocess = Preprocess::torchvision_vgg16();
                files.par_iter().try_for_each(|file| {
                    let square = square(file, &preprocess);
                    square.map(drop).map_err(|error| error.to_string())
                })?;
            }
            Request::Decode { files, .. } => {
                let preprocess = Preprocess::torchvision_vgg16();
                for file in &files {
                    square(file, &preprocess)?;
                }
            }
            Request::Fc7 { files, batch, into } => {
                let features = self.fc7(&files, batch)?;
                answer.seconds = started.elapsed().as_secs_f64();
                write(&into, &features)?;
                return Ok(answer);
            }
            Request::Model {
                ahead,
                count,
                batch,
                pixels,
                into,
            } => {
                let encoder = self.encoder()?;
                let side = encoder.preprocess().crop as usize;
                let pixels = match pixels {
                    Some(file) => fs::read(file)?,
                    None => vec![127; batch * side * side * 3],
                };
                let pictures: Vec<&[u8]> = pixels.chunks_exact(side * side * 3).collect();
                let mut features = Vec::new();
                let started = Instant::now();
                if ahead {
                    let mut under_way = encoder.begin(owned(&pictures))?;
                    for _ in 1..count.div_ceil(batch) {
                        let next = encoder.begin(owned(&pictures))?;
                        std::mem::replace(&mut under_way, next).get()?;
                    }
                    features = under_way.get()?;
                } else {
                    for _ in 0..count.div_ceil(batch) {
                        features = encoder.encode(&pictures)?;
                    }
                }
                answer.seconds = started.elapsed().as_secs_f64();
                if let Some(into) = into {
                    write(&into, &features)?;
                }
                return Ok(answer);
            }
            Request::Beam {
                features,
                decoding,
                repeats,
            } => {
                let features = read(&features)?;
                let captioner = self
                    .captioner
                    .as_ref()
                    .ok_or("no captioner was asked for")?;
                let started = Instant::now();
                for _ in 1..repeats.unwrap_or(1) {
                    captioner.caption(&features, &decoding)?;
                }
                let beams = captioner.caption(&features, &decoding)?;
                answer.seconds = started.elapsed().as_secs_f64();
                let best = beams
                    .into_iter()
                    .filter_map(|beams| beams.into_iter().next());
                answer.captions = best.map(|beam| beam.caption).collect();
                return Ok(answer);
            }
            Request::CacheWrite {
                features,
                dims,
                out,
            } => {
                let features = read(&features)?;
                let started = Instant::now();
                write_cache(&features, dims, &out)?;
                answer.seconds = started.elapsed().as_secs_f64();
                return Ok(answer);
            }
            Request::CacheRead { count, dims, out } => {
                let cache = Cache::open(&Layout::create(&out)?, spec(dims))?;
                let found = cache.get(&(0..count).map(id).collect::<Vec<_>>());
                if found.iter().any(Option::is_none) {
                    return Err("features are missing".into());
                }
            }
            Request::Archive {
                directory,
                out,
                batch,
                decoding,
            } => {
                let encoder = self.encoder.take().ok_or("no encoder was asked for")?;
                let captioner = match decoding {
                    Some(_) => self.captioner.take(),
                    None => None,
                };
                let mut models = Models {
                    encoder,
                    captioner: captioner.zip(decoding),
                };
                let started = Instant::now();
                let stages = archive(&mut models, directory, out, batch.unwrap_or(64))?;
                answer.seconds = started.elapsed().as_secs_f64();
                answer.stages = stages;
                self.encoder = Some(models.encoder);
                if let Some((captioner, _)) = models.captioner {
                    self.captioner = Some(captioner);
                }
                return Ok(answer);
            }
        }
        answer.seconds = started.elapsed().as_secs_f64();
        Ok(answer)
    }

    fn encoder(&self) -> Outcome<&dyn Encoder> {
        Ok(self.encoder.as_deref().ok_or("no encoder was asked for")?)
    }

    /// `[files, 4096]`
    fn fc7(&self, files: &[PathBuf], batch: usize) -> Outcome<Vec<f32>> {
        let encoder = self.encoder()?;
        let preprocess = encoder.preprocess().clone();
        let (decoded, batches) = sync_channel::<Result<Vec<Vec<u8>>, String>>(2);
        let mut features = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for files in files.chunks(batch) {
                    let squares: Result<Vec<_>, String> = files
                        .par_iter()
                        .map(|file| square(file, &preprocess).map_err(|error| error.to_string()))
                        .collect();
                    if decoded.send(squares).is_err() {
                        return;
                    }
                }
            });
            for squares in batches {
                let squares = squares?;
                let pictures: Vec<&[u8]> = squares.iter().map(Vec::as_slice).collect();
                features.extend(encoder.encode(&pictures)?);
            }
            Ok::<_, Box<dyn Error>>(())
        })?;
        Ok(features)
    }
}

/// `[files, 224, 224, 3]`
fn squares(files: &[PathBuf]) -> Outcome<Vec<Vec<u8>>> {
    let preprocess = Preprocess::torchvision_vgg16();
    files.iter().map(|file| square(file, &preprocess)).collect()
}

fn owned(pictures: &[&[u8]]) -> Vec<Vec<u8>> {
    pictures.iter().map(|picture| picture.to_vec()).collect()
}

fn square(file: &Path, preprocess: &Preprocess) -> Outcome<Vec<u8>> {
    let limits = Limits::default();
    let image = ImageRef {
        root: "".into(),
        uri: String::new(),
        path: file.to_owned(),
        bytes: 0,
        modified: 0,
    };
    let LoadOutcome::Loaded(loaded) = archive::load(&image, &limits) else {
        return Err(format!("{} is no image", file.display()).into());
    };
    let shown = archive::decode_at_least(&loaded, &limits, preprocess.least_side())
        .map_err(|failure| failure.reason)?;
    Ok(preprocess.apply_to_shown(&shown)?)
}

fn spec(dims: usize) -> Spec {
    Spec {
        encoder_id: "peer".to_owned(),
        dims,
        precision: cache::Precision::Bfloat16,
    }
}

fn id(number: usize) -> ImageId {
    ImageId::of(&number.to_le_bytes())
}

fn write_cache(features: &[f32], dims: usize, out: &Path) -> Outcome<()> {
    let layout = Layout::create(out)?;
    let cache = Arc::new(Cache::open(&layout, spec(dims))?);
    let mut writer = CacheWriter::new(cache, &layout, &"20260101T000000Z-0000".parse()?);
    for (number, row) in features.chunks_exact(dims).enumerate() {
        writer.append(id(number), row)?;
    }
    writer.finish_part()?;
    Ok(())
}

/// Returns the seconds that each stage was busy.
fn archive(
    models: &mut Models,
    directory: PathBuf,
    out: PathBuf,
    batch: usize,
) -> Outcome<Vec<(String, f64)>> {
    let config = RunConfig {
        walk: WalkConfig {
            roots: vec![directory],
            exclude: Vec::new(),
            hidden: Hidden::Skip,
        },
        out,
        limits: Limits::default(),
        batch,
        part_rows: PART_ROWS,
        cache_precision: cache::Precision::Bfloat16,
        keep_features: Keep::Features,
        retry_failed: false,
        verify: false,
        // Captions of random weights are alike, which is no fault here.
        guards: Guards {
            accept: true,
            ..Guards::default()
        },
        model: "peer".to_owned(),
        encoder_source: ModelSource {
            description: "peer".to_owned(),
            files: Vec::new(),
        },
        captioner_source: None,
        options: Default::default(),
    };
    let summary = pipeline::run(&config, models, &Live::default(), &AtomicBool::new(false))?;
    if summary.counts.failed > 0 {
        return Err(format!("{} images failed", summary.counts.failed).into());
    }
    let stages = summary.stages.into_iter();
    Ok(stages.map(|(name, time)| (name, time.seconds)).collect())
}

fn read(file: &Path) -> Outcome<Vec<f32>> {
    let mut file = File::open(file)?;
    let mut values = vec![0.0; file.metadata()?.len() as usize / size_of::<f32>()];
    // In pieces: the other side does not hold them twice either.
    let mut piece = [0; 1 << 16];
    for values in values.chunks_mut(piece.len() / size_of::<f32>()) {
        let bytes = &mut piece[..size_of_val(values)];
        file.read_exact(bytes)?;
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
            *value = f32::from_le_bytes(*bytes);
        }
    }
    Ok(values)
}

fn write(file: &Path, values: &[f32]) -> Outcome<()> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    Ok(fs::write(file, bytes)?)
}
