//! What each stage of a run costs alone: `make bench`, or `cargo bench --bench stages -- beam` for
//! some of it.
//!
//! Threads are libtorch's and rayon's own choice; `taskset`, `OMP_NUM_THREADS=1` and
//! `RAYON_NUM_THREADS=1` give those of one core.

mod made;

use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use showtell::archive::{self, Format, ImageId, Limits, Loaded};
use showtell::cache::{self, Cache, CacheWriter, Spec};
use showtell::captioner::show_tell::ShowTellConfig;
use showtell::captioner::{Beam, Decoding};
use showtell::encoder::EncoderConfig;
use showtell::encoder::preprocess::{Preprocess, Resize};
use showtell::table::{Identity, Layout, Outcome, PartWriter, Row, RunId};
use tch::Kind;

fn main() {
    divan::main();
}

/// Sides of a picture from the web, and of one of 12 megapixels.
const SIZES: [(u32, u32); 2] = [(500, 375), (4000, 3000)];

fn loaded((width, height): (u32, u32)) -> Loaded {
    let bytes = made::photograph(width, height).unwrap();
    Loaded {
        image_id: ImageId::of(&bytes),
        bytes,
        format: Format::Jpeg,
    }
}

/// JPEG to pixels.
#[divan::bench(args = SIZES, sample_count = 20, max_time = 5)]
fn decode(bencher: Bencher, size: (u32, u32)) {
    let (loaded, limits) = (loaded(size), Limits::default());
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| archive::decode(&loaded, &limits).unwrap());
}

/// JPEG to as many pixels as VGG-16 needs of it.
#[divan::bench(args = SIZES, sample_count = 20, max_time = 5)]
fn decode_for_vgg16(bencher: Bencher, size: (u32, u32)) {
    let (loaded, limits) = (loaded(size), Limits::default());
    let side = Preprocess::torchvision_vgg16().least_side();
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| archive::decode_at_least(&loaded, &limits, side).unwrap());
}

/// Pixels to the square that VGG-16 looks at.
#[divan::bench(args = SIZES, sample_count = 20, max_time = 5)]
fn preprocess(bencher: Bencher, size: (u32, u32)) {
    let preprocess = Preprocess::torchvision_vgg16();
    let picture = archive::decode(&loaded(size), &Limits::default()).unwrap();
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| preprocess.apply(&picture).unwrap());
}

/// As the demonstration model is.
fn narrow() -> EncoderConfig {
    EncoderConfig {
        widths: [8, 16, 32, 64, 80],
        hidden: 512,
        preprocess: Preprocess {
            resize: Resize::Stretch { size: 128 },
            crop: 128,
            ..Preprocess::torchvision_vgg16()
        },
        ..EncoderConfig::vgg16()
    }
}

fn encode(bencher: Bencher, config: &EncoderConfig, batch: usize, kind: Kind) {
    let encoder = made::encoder(config, kind).unwrap();
    let side = config.preprocess.crop as usize;
    let pixels: Vec<u8> = (0..batch * side * side * 3)
        .map(|at| (at * 31 % 251) as u8)
        .collect();
    let pictures: Vec<&[u8]> = pixels.chunks_exact(side * side * 3).collect();
    bencher
        .counter(ItemsCount::new(batch))
        .bench_local(|| encoder.encode(&pictures).unwrap());
}

/// A batch of 64 through the network of the demonstration model.
#[divan::bench(args = [Kind::Float, Kind::BFloat16], sample_count = 10, max_time = 10)]
fn encode_narrow(bencher: Bencher, kind: Kind) {
    encode(bencher, &narrow(), 64, kind);
}

/// A batch of 16 through VGG-16 as published.
#[divan::bench(args = [Kind::Float, Kind::BFloat16], sample_count = 5, max_time = 30)]
fn encode_full_size(bencher: Bencher, kind: Kind) {
    encode(bencher, &EncoderConfig::vgg16(), 16, kind);
}

/// Beam 3, at most 20 tokens, LSTM of 512 units, 10,000 words, batch 64.
#[divan::bench(sample_count = 5, max_time = 20)]
fn beam_search(bencher: Bencher) {
    const BATCH: usize = 64;
    let config = ShowTellConfig {
        features: 4096,
        embedding: 512,
        hidden: 512,
    };
    let captioner = made::captioner(&config, 10_000).unwrap();
    let features = made::features(BATCH, 4096);
    let decoding = Decoding {
        beam: 3,
        max_tokens: 20,
        length_penalty: 0.0,
    };
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| captioner.caption(&features, &decoding).unwrap());
}

fn run_id() -> RunId {
    "20260101T000000Z-0000".parse().unwrap()
}

/// fc7 of 1,024 images.
struct Embeddings {
    spec: Spec,
    ids: Vec<ImageId>,
    /// `[ids, dims]`
    features: Vec<f32>,
}

impl Embeddings {
    fn new() -> Self {
        const IMAGES: usize = 1024;
        let spec = Spec {
            encoder_id: "vgg16-fc7".to_owned(),
            dims: 4096,
            precision: cache::Precision::Bfloat16,
        };
        Embeddings {
            ids: (0..IMAGES)
                .map(|number| ImageId::of(&number.to_le_bytes()))
                .collect(),
            features: made::features(IMAGES, spec.dims),
            spec,
        }
    }

    fn bytes(&self) -> BytesCount {
        BytesCount::of_slice(&self.features)
    }

    fn write(&self, layout: &Layout) {
        let cache = Arc::new(Cache::open(layout, self.spec.clone()).unwrap());
        let mut writer = CacheWriter::new(cache, layout, &run_id());
        for (id, row) in self.ids.iter().zip(self.features.chunks(self.spec.dims)) {
            writer.append(*id, row).unwrap();
        }
        writer.finish_part().unwrap();
    }
}

#[divan::bench(sample_count = 10)]
fn cache_write(bencher: Bencher) {
    let embeddings = Embeddings::new();
    bencher
        .counter(embeddings.bytes())
        .with_inputs(|| tempfile::tempdir().unwrap())
        .bench_local_refs(|scratch| embeddings.write(&Layout::create(scratch.path()).unwrap()));
}

#[divan::bench(sample_count = 10)]
fn cache_read(bencher: Bencher) {
    let embeddings = Embeddings::new();
    let scratch = tempfile::tempdir().unwrap();
    let layout = Layout::create(scratch.path()).unwrap();
    embeddings.write(&layout);
    bencher.counter(embeddings.bytes()).bench_local(|| {
        let cache = Cache::open(&layout, embeddings.spec.clone()).unwrap();
        black_box(cache.get(&embeddings.ids))
    });
}

/// A part of 8,192 rows with three captions each.
#[divan::bench(sample_count = 10)]
fn table_write(bencher: Bencher) {
    const ROWS: usize = 8192;
    let beam = |place: usize| Beam {
        caption: format!("a red car beside {place} green trees under a clear sky"),
        log_prob: -3.0 - place as f32,
        tokens: 12,
        score: -3.0 - place as f32,
        finished: true,
    };
    let row = |number: usize| Row {
        uri: format!("{:04}/{number:08}.jpg", number / 100),
        root: "/archive".into(),
        image_id: Some(ImageId::of(&number.to_le_bytes())),
        bytes: 100_000,
        modified_at: 1_700_000_000_000_000,
        width: Some(500),
        height: Some(375),
        format: Some("jpeg".into()),
        outcome: Outcome::Captioned((0..3).map(beam).collect()),
        identity: Some(Identity {
            encoder_id: "vgg16-fc7-0000000000000000".into(),
            captioner_id: "show-and-tell-0000000000000000".into(),
            decoding: "{}".into(),
        }),
        run_id: run_id(),
        annotated_at: 1_700_000_000_000_000,
    };
    let rows: Vec<Row> = (0..ROWS).map(row).collect();
    bencher
        .counter(ItemsCount::new(ROWS))
        .with_inputs(|| (tempfile::tempdir().unwrap(), rows.clone()))
        .bench_local_refs(|(scratch, rows)| {
            let layout = Layout::create(scratch.path()).unwrap();
            let mut part = PartWriter::create(&layout, &run_id(), 0);
            for row in rows.drain(..) {
                part.push(row).unwrap();
            }
            part.finish().unwrap()
        });
}
