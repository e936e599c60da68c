//! Our side of `make bench-peers`: does what benches/peers.py asks for, and says how long it took.
//!
//! A request is a line of JSON on the standard input, an answer one on the standard output. What is
//! asked for twice is done twice; only weights stay. Files and figures cross as raw little-endian
//! f32, so that both sides can be seen to have done the same.

// Trainings have ways of their own.
#[allow(dead_code)]
#[path = "../src/cli/allocator.rs"]
mod allocator;

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
use showtell::encoder::device::{DeviceChoice, LazyDevice, Precision};
use showtell::encoder::preprocess::Preprocess;
use showtell::encoder::{Encoder, EncoderConfig, load};
use showtell::nightly::{Guards, ModelSource};
use showtell::pipeline::{self, Keep, Live, Models, RunConfig};
use showtell::table::{Layout, PART_ROWS};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Request {
    /// Reads a VGG-16 of torchvision's layout. Not timed by the script.
    Encoder { weights: PathBuf, precision: String },
    /// Reads a Show and Tell. Not timed by the script.
    Captioner {
        config: ShowTellConfig,
        vocabulary: PathBuf,
        weights: PathBuf,
    },
    /// Files to squares of 224 pixels, one after another.
    Decode { files: Vec<PathBuf> },
    /// Files to fc7, the next batch decoded meanwhile.
    Fc7 {
        files: Vec<PathBuf>,
        batch: usize,
        into: PathBuf,
    },
    /// The network alone, on squares that are in memory.
    Model { count: usize, batch: usize },
    /// Features to captions.
    Beam {
        features: PathBuf,
        decoding: Decoding,
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
    /// Everything from the walk to the files, as `showtell embed` does it.
    Archive { directory: PathBuf, out: PathBuf },
}

#[derive(Serialize, Default)]
struct Answer {
    seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    captions: Vec<String>,
    /// Of a run, by stage: seconds that it was busy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<(String, f64)>,
}

#[derive(Default)]
struct Side {
    encoder: Option<Box<dyn Encoder>>,
    captioner: Option<ShowTell>,
}

fn main() -> Outcome<()> {
    allocator::keep_memory_level();
    let mut side = Side::default();
    for line in std::io::stdin().lock().lines() {
        let answer = side.answer(serde_json::from_str(&line?)?)?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

impl Side {
    fn answer(&mut self, request: Request) -> Outcome<Answer> {
        let started = Instant::now();
        let mut answer = Answer::default();
        match request {
            Request::Encoder { weights, precision } => {
                let precision: Precision = precision.parse()?;
                let (device, kind) = LazyDevice::new(DeviceChoice::Cpu, precision).get()?;
                // The other goes first: two full-size networks are more than one needs.
                self.encoder = None;
                self.encoder = Some(load(&EncoderConfig::vgg16(), &weights, device, kind)?);
            }
            Request::Captioner {
                config,
                vocabulary,
                weights,
            } => {
                let vocabulary = Vocabulary::read(&vocabulary)?;
                let captioner = ShowTell::load(&config, vocabulary, &weights, tch::Device::Cpu)?;
                self.captioner = Some(captioner);
            }
            Request::Decode { files } => {
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
            Request::Model { count, batch } => {
                let encoder = self.encoder()?;
                let side = encoder.preprocess().crop as usize;
                let picture = vec![127; side * side * 3];
                for _ in 0..count.div_ceil(batch) {
                    encoder.encode(&vec![&picture[..]; batch])?;
                }
            }
            Request::Beam { features, decoding } => {
                let features = read(&features)?;
                let captioner = self
                    .captioner
                    .as_ref()
                    .ok_or("no captioner was asked for")?;
                let started = Instant::now();
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
            Request::Archive { directory, out } => {
                let encoder = self.encoder.take().ok_or("no encoder was asked for")?;
                let mut models = Models {
                    encoder,
                    captioner: None,
                };
                let started = Instant::now();
                let stages = archive(&mut models, directory, out)?;
                answer.seconds = started.elapsed().as_secs_f64();
                answer.stages = stages;
                self.encoder = Some(models.encoder);
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
fn archive(models: &mut Models, directory: PathBuf, out: PathBuf) -> Outcome<Vec<(String, f64)>> {
    let config = RunConfig {
        walk: WalkConfig {
            roots: vec![directory],
            exclude: Vec::new(),
            hidden: Hidden::Skip,
        },
        out,
        limits: Limits::default(),
        batch: 64,
        part_rows: PART_ROWS,
        cache_precision: cache::Precision::Bfloat16,
        keep_features: Keep::Features,
        retry_failed: false,
        verify: false,
        guards: Guards::default(),
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
