//! Turns the model that was asked for into an encoder and a captioner, read now or when first needed.
//!
//! If an earlier run over the same output read the same files, their ids are known from its summary
//! and nothing is read, not even libtorch's CUDA half, before something has to be computed. Otherwise
//! they are read at once, so that weights that do not fit are found before anything is touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use showtell::captioner::model::Model;
use showtell::captioner::{Captioner, CaptionerError, Decoding};
use showtell::encoder::device::LazyDevice;
use showtell::encoder::{self, Encoder, EncoderConfig, EncoderError};
use showtell::nightly::{ModelFile, ModelSource, RecordedIds};
use showtell::pipeline::{DeferredCaptioner, DeferredEncoder, Load, Models};
use showtell::table::Layout;

use super::run::DeviceArguments;

/// The model that was asked for.
pub struct WantedModel {
    pub encoder: EncoderConfig,
    /// The encoder's.
    pub weights: PathBuf,
    /// Absent where only features are wanted.
    pub captioner: Option<(Model, Decoding)>,
    pub device: DeviceArguments,
}

/// What encoder and captioner lie in.
pub struct Sources {
    pub encoder: ModelSource,
    pub captioner: Option<ModelSource>,
}

/// Whether what earlier runs recorded of a model's files is taken for true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    Believe,
    Ignore,
}

impl WantedModel {
    /// The models for a run over `out`, and what they lie in.
    pub fn prepare(self, out: &Path, records: Records) -> anyhow::Result<(Models, Sources)> {
        let sources = self.sources()?;
        let recorded = match (records, Layout::open(out)) {
            // Records that cannot be read are for the run to tell, which needs them for more.
            (Records::Believe, Ok(layout)) => RecordedIds::read(&layout).unwrap_or_default(),
            _ => RecordedIds::default(),
        };
        let device = Arc::new(self.device.lazy());
        let dimensions = usize::try_from(self.encoder.dimensions())?;
        let preprocess = self.encoder.preprocess.clone();

        let load = encoder_loader(self.encoder, self.weights, Arc::clone(&device));
        let encoder: Box<dyn Encoder> = match recorded.encoder(&sources.encoder) {
            Some(id) => Box::new(DeferredEncoder::new(
                id.to_owned(),
                dimensions,
                preprocess,
                load,
            )),
            None => load()?,
        };
        let captioner = match (self.captioner, &sources.captioner) {
            (Some((model, decoding)), Some(source)) => {
                let load = captioner_loader(model, device);
                let captioner: Box<dyn Captioner> = match recorded.captioner(source) {
                    Some(id) => Box::new(DeferredCaptioner::new(id.to_owned(), dimensions, load)),
                    None => load()?,
                };
                Some((captioner, decoding))
            }
            _ => None,
        };
        Ok((Models { encoder, captioner }, sources))
    }

    /// The models, read at once.
    pub fn load(self) -> anyhow::Result<Models> {
        let device = Arc::new(self.device.lazy());
        let encoder = encoder_loader(self.encoder, self.weights, device.clone())()?;
        let captioner = match self.captioner {
            Some((model, decoding)) => Some((captioner_loader(model, device)()?, decoding)),
            None => None,
        };
        Ok(Models { encoder, captioner })
    }

    fn sources(&self) -> anyhow::Result<Sources> {
        // Where the weights lie is told by the file, and which id they should give is no part of it.
        let encoder = EncoderConfig {
            weights: None,
            id: None,
            ..self.encoder.clone()
        };
        let encoder = ModelSource {
            description: serde_json::to_string(&encoder)?,
            files: vec![ModelFile::look_at(&self.weights).map_err(|source| {
                EncoderError::Unreadable {
                    file: self.weights.clone(),
                    source: source.into(),
                }
            })?],
        };
        let captioner = match &self.captioner {
            Some((model, _)) => {
                let described = &model.config.captioner;
                let files = model.captioner_files();
                Some(ModelSource {
                    description: serde_json::to_string(&described)?,
                    files: files
                        .iter()
                        .map(|file| look_at(file))
                        .collect::<Result<_, _>>()?,
                })
            }
            None => None,
        };
        Ok(Sources { encoder, captioner })
    }
}

fn look_at(path: &Path) -> Result<ModelFile, CaptionerError> {
    ModelFile::look_at(path).map_err(|source| CaptionerError::Unreadable {
        file: path.to_owned(),
        source: source.into(),
    })
}

fn encoder_loader(
    config: EncoderConfig,
    weights: PathBuf,
    device: Arc<LazyDevice>,
) -> Load<dyn Encoder, EncoderError> {
    Box::new(move || {
        let (devices, kind) = device.all()?;
        tracing::debug!(?devices, ?kind, weights = %weights.display(), "loading the encoder");
        encoder::load_on(&config, &weights, devices, kind)
    })
}

fn captioner_loader(model: Model, device: Arc<LazyDevice>) -> Load<dyn Captioner, CaptionerError> {
    Box::new(move || {
        let (devices, _) = device.all().map_err(EncoderError::from)?;
        tracing::debug!(?devices, model = %model.directory.display(), "loading the captioner");
        model.captioner_on(devices)
    })
}
