//! Features without captions, with an encoder that counts.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::{Array, AsArray};
use arrow::ipc::reader::FileReader;
use parquet::file::metadata::ParquetMetaDataReader;
use showtell::archive::{Hidden, ImageId, Limits, WalkConfig};
use showtell::cache::{Cache, Precision, Spec};
use showtell::encoder::preprocess::Preprocess;
use showtell::encoder::{Encoder, EncoderError, Underway};
use showtell::nightly::{Counts, Guards, ModelSource, RunSummary};
use showtell::pipeline::{self, Keep, Live, Models, RunConfig, forecast};

use crate::annotate::{Archive, repository, samples};
use crate::nights::opens::Opens;

const ENCODER: &str = "mean-of-all-0123";
const DIMS: usize = 3;

/// The mean of all values of a picture, and how many pictures it was given.
struct Mean {
    preprocess: Preprocess,
    pictures: Arc<AtomicUsize>,
    /// Whether features are computed when they are asked for, as on a device of their own.
    late: bool,
}

impl Encoder for Mean {
    fn id(&self) -> &str {
        ENCODER
    }

    fn dimensions(&self) -> usize {
        DIMS
    }

    fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    fn encode(&self, pictures: &[&[u8]]) -> Result<Vec<f32>, EncoderError> {
        self.pictures.fetch_add(pictures.len(), Ordering::Relaxed);
        let mean = |picture: &&[u8]| {
            let sum: u64 = picture.iter().map(|value| u64::from(*value)).sum();
            [sum as f32 / picture.len() as f32; DIMS]
        };
        Ok(pictures.iter().flat_map(mean).collect())
    }

    fn begin(&self, pictures: Vec<Vec<u8>>) -> Result<Underway, EncoderError> {
        let pictures: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
        let features = self.encode(&pictures)?;
        Ok(match self.late {
            true => Underway::begun(move || Ok(features)),
            false => Underway::done(features),
        })
    }
}

struct Embedding {
    archive: Archive,
    models: RefCell<Models>,
    pictures: Arc<AtomicUsize>,
}

impl Embedding {
    /// Of ten samples and a file that is none.
    fn new() -> Self {
        Self::with(false)
    }

    fn with(late: bool) -> Self {
        let archive = Archive::of_samples();
        fs::write(archive.photo("broken.jpg"), "minutes of the meeting").unwrap();
        let pictures = Arc::default();
        let encoder = Mean {
            preprocess: Preprocess::torchvision_vgg16(),
            pictures: Arc::clone(&pictures),
            late,
        };
        let models = Models {
            encoder: Box::new(encoder),
            captioner: None,
        };
        Self {
            archive,
            models: RefCell::new(models),
            pictures,
        }
    }

    fn config(&self, verify: bool) -> RunConfig {
        RunConfig {
            walk: WalkConfig {
                roots: vec![self.archive.directory().into()],
                exclude: Vec::new(),
                hidden: Hidden::Skip,
            },
            out: self.archive.out().into(),
            limits: Limits::default(),
            batch: 4,
            part_rows: 100,
            cache_precision: Precision::default(),
            keep_features: Keep::Features,
            retry_failed: false,
            verify,
            guards: Guards::default(),
            model: "mean".to_owned(),
            encoder_source: ModelSource {
                description: String::new(),
                files: Vec::new(),
            },
            captioner_source: None,
            options: Default::default(),
        }
    }

    /// What was done, and how many pictures the encoder was given.
    fn run_with(&self, verify: bool) -> (RunSummary, usize) {
        let before = self.pictures.load(Ordering::Relaxed);
        let (config, stop) = (self.config(verify), AtomicBool::new(false));
        let summary = pipeline::run(
            &config,
            &mut self.models.borrow_mut(),
            &Live::default(),
            &stop,
        )
        .unwrap();
        (summary, self.pictures.load(Ordering::Relaxed) - before)
    }

    fn run(&self) -> (Counts, usize) {
        let (summary, pictures) = self.run_with(false);
        assert_eq!(summary.warnings, Vec::<String>::new());
        (summary.counts, pictures)
    }

    fn features(&self) -> usize {
        self.cache().len()
    }

    fn cache(&self) -> Cache {
        let spec = Spec {
            encoder_id: ENCODER.to_owned(),
            dims: DIMS,
            precision: Precision::default(),
        };
        Cache::peek(&self.archive.layout(), spec).unwrap()
    }

    fn list(&self) -> std::path::PathBuf {
        let out = self.archive.out();
        Path::new(&out)
            .join("embeddings")
            .join(ENCODER)
            .join("files.arrow")
    }
}

#[test]
fn a_second_night_opens_no_image_and_reads_what_has_changed() {
    let night = Embedding::new();
    let archive = &night.archive;
    let (first, pictures) = night.run();
    assert_eq!((first.found, first.captioned, first.failed), (11, 10, 1));
    assert_eq!((pictures, night.features()), (10, 10));

    let photos = archive.directory();
    let opens = Opens::in_each_of(&[Path::new(&photos)]);
    let (second, pictures) = night.run();
    assert_eq!(opens.take().len(), 0);
    assert_eq!((second.found, second.unchanged, pictures), (11, 11, 0));
    assert_eq!(second.unchanged_failed, 1);
    let planned = forecast(&night.config(false), &night.models.borrow()).unwrap();
    assert_eq!((planned.to_read(), planned.recaption), (0, 0));
    assert_eq!((planned.unchanged, planned.unchanged_failed), (10, 1));

    // One is touched, one renamed, one gone, one new.
    let touched = File::options()
        .write(true)
        .open(archive.photo("0.png"))
        .unwrap();
    let later = SystemTime::now() + Duration::from_secs(10);
    touched.set_modified(later).unwrap();
    let named = |start: &str| {
        let entries = fs::read_dir(&photos).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.find(|name| name.starts_with(start)).unwrap()
    };
    fs::rename(archive.photo(&named("1.")), archive.photo("z")).unwrap();
    fs::remove_file(archive.photo(&named("2."))).unwrap();
    fs::copy(&samples()[11], archive.photo("new")).unwrap();
    opens.take();
    let (third, pictures) = night.run();
    let opened: Vec<_> = opens.take().into_iter().collect();
    let expected = ["0.png", "new", "z"].map(|name| archive.photo(name));
    assert_eq!(opened, expected);
    assert_eq!((third.found, third.captioned, third.unchanged), (11, 3, 8));
    // Of the renamed one, the old name.
    assert_eq!((third.deleted, third.touched, pictures), (2, 1, 1));

    let (fourth, pictures) = night.run();
    assert_eq!((fourth.unchanged, fourth.deleted, pictures), (11, 0, 0));
    assert_eq!(opens.take().len(), 0);
}

#[test]
fn what_is_known_of_files_is_never_taken_for_features() {
    let night = Embedding::new();
    night.run();
    // Features that are gone are computed again, whether files are to be read or not.
    for verify in [false, true] {
        for entry in fs::read_dir(night.list().parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "parquet") {
                fs::remove_file(path).unwrap();
            }
        }
        assert_eq!(night.features(), 0);
        let (_, pictures) = night.run_with(verify);
        assert_eq!((pictures, night.features()), (10, 10));
    }
    let (verified, pictures) = night.run_with(true);
    assert_eq!((verified.counts.unchanged, pictures), (11, 0));

    // A damaged list costs a look at the files, and is told.
    let mut bytes = fs::read(night.list()).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    fs::write(night.list(), bytes).unwrap();
    let (summary, pictures) = night.run_with(false);
    assert_eq!((summary.counts.captioned, pictures), (10, 0));
    assert!(summary.warnings[0].contains("files.arrow"), "{summary:?}");
    let (counts, pictures) = night.run();
    assert_eq!((counts.unchanged, pictures), (11, 0));
}

#[test]
fn damaged_features_are_found_by_verifying_and_computed_again() {
    let night = Embedding::new();
    night.run();
    let ids: Vec<ImageId> = samples()
        .iter()
        .map(|sample| ImageId::of(&fs::read(sample).unwrap()))
        .collect();
    let sound = night.cache().get(&ids);
    let entries = fs::read_dir(night.list().parent().unwrap()).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let part = paths
        .find(|path| path.extension().unwrap() == "parquet")
        .unwrap();
    // Of the last column's last page.
    let footer = ParquetMetaDataReader::new()
        .parse_and_finish(&File::open(&part).unwrap())
        .unwrap();
    let column = footer.row_group(0).columns().last().unwrap();
    let (start, length) = column.byte_range();
    let mut bytes = fs::read(&part).unwrap();
    bytes[(start + length - 1) as usize] ^= 1;
    fs::write(&part, bytes).unwrap();

    assert_eq!(night.run().1, 0);
    let (verified, pictures) = night.run_with(true);
    assert_eq!(pictures, 10);
    let name = part.file_name().unwrap().to_str().unwrap();
    assert!(
        verified.warnings[0].contains(name),
        "{:?}",
        verified.warnings
    );
    assert_eq!(night.cache().get(&ids), sound);
    let (again, pictures) = night.run_with(true);
    assert_eq!((again.warnings.len(), pictures), (0, 0));
}

#[test]
fn features_that_come_late_are_those_of_their_pictures() {
    let nights = [false, true].map(|late| {
        let night = Embedding::with(late);
        assert_eq!(night.run().1, 10);
        night
    });
    let ids: Vec<ImageId> = samples()
        .iter()
        .map(|sample| ImageId::of(&fs::read(sample).unwrap()))
        .collect();
    let [at_once, late] = nights.map(|night| night.cache().get(&ids));
    assert_eq!(at_once, late);
    assert_eq!(late.iter().flatten().count(), 10);
}

#[test]
fn the_list_says_which_file_an_embedding_is_of() {
    let night = Embedding::new();
    night.run();
    let reader = FileReader::try_new(File::open(night.list()).unwrap(), None).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let columns = batches[0].schema();
    let columns: Vec<_> = columns
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(
        columns.join(" "),
        "uri root image_id bytes modified_at width height format error_stage error run_id"
    );
    let text = |name: &str| {
        batches[0]
            .column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .clone()
    };
    let (uris, ids, errors) = (text("uri"), text("image_id"), text("error_stage"));
    assert_eq!(uris.len(), 11);
    for at in 0..uris.len() {
        let bytes = fs::read(night.archive.photo(uris.value(at))).unwrap();
        assert_eq!(ids.value(at), blake3::hash(&bytes).to_hex().as_str());
        let error = errors.iter().nth(at).flatten();
        let expected = (uris.value(at) == "broken.jpg").then_some("decode");
        assert_eq!(error, expected);
    }
}

#[test]
fn a_table_with_the_same_encoder_tells_as_much() {
    let night = Embedding::new();
    let archive = &night.archive;
    // Annotated first, with another encoder: nothing that is known of the files is lost on `embed`,
    // which needs their pixels all the same.
    archive.annotate(
        &[
            "--model",
            repository().join("data/models/demo").to_str().unwrap(),
        ],
        1,
    );
    let table = archive.last_run().run_id;
    let (first, pictures) = night.run();
    assert_eq!((first.captioned, pictures), (10, 10));
    let (second, pictures) = night.run();
    assert_eq!((second.unchanged, pictures), (11, 0));
    // The table is as it was.
    let rows = showtell::table::Snapshot::open(&archive.layout().snapshot())
        .unwrap()
        .unwrap();
    assert_eq!((rows.rows(), rows.notes().run_id), (11, table));
}
