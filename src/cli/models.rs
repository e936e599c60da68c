//! Turns the model that was asked for into an encoder and a captioner, read now or when first needed.
//!
//! If an earlier run over the same output read the same files, their ids are known from its summary
//! and nothing is read, not even libtorch's CUDA half, before something has to be computed. Otherwise
//! everything is read at once, so that weights that do not fit are found before anything is touched.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use showtell::captioner::model::Model;
use showtell::captioner::{Captioner, CaptionerError, Decoding};
use showtell::encoder::device::LazyDevice;
use showtell::encoder::{self, Encoder, EncoderConfig, EncoderError};
use showtell::nightly::{ModelFile, ModelIds};
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

/// Whether what earlier runs recorded of a model's files is taken for true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    Believe,
    Ignore,
}

impl WantedModel {
    /// The models for a run over `out`, and the files that they come from.
    pub fn prepare(self, out: &Path, records: Records) -> anyhow::Result<(Models, Vec<ModelFile>)> {
        let files = self.files()?;
        let recorded = match (records, Layout::open(out)) {
            (Records::Believe, Ok(layout)) => ModelIds::recorded(&layout, &files)?,
            _ => None,
        };
        let device = Rc::new(self.device.lazy());
        let dimensions = usize::try_from(self.encoder.dimensions())?;
        let preprocess = self.encoder.preprocess.clone();
        let load_encoder = encoder_loader(self.encoder, self.weights, device.clone());
        let captioner = self
            .captioner
            .map(|(model, decoding)| (captioner_loader(model, device), decoding));
        tracing::debug!(?recorded, "the model's ids");
        let models = match (recorded, captioner) {
            (Some(ids), captioner) if ids.captioner_id.is_some() == captioner.is_some() => {
                let deferred = |(load, decoding)| {
                    let id = ids.captioner_id.clone().unwrap_or_default();
                    let captioner = DeferredCaptioner::new(id, dimensions, load);
                    (Box::new(captioner) as Box<dyn Captioner>, decoding)
                };
                let encoder = DeferredEncoder::new(
                    ids.encoder_id.clone(),
                    dimensions,
                    preprocess,
                    load_encoder,
                );
                Models {
                    encoder: Box::new(encoder),
                    captioner: captioner.map(deferred),
                }
            }
            (_, captioner) => {
                let encoder = load_encoder()?;
                let captioner = match captioner {
                    Some((load, decoding)) => Some((load()?, decoding)),
                    None => None,
                };
                Models { encoder, captioner }
            }
        };
        Ok((models, files))
    }

    /// The models, read at once.
    pub fn load(self) -> anyhow::Result<Models> {
        let device = Rc::new(self.device.lazy());
        let encoder = encoder_loader(self.encoder, self.weights, device.clone())()?;
        let captioner = match self.captioner {
            Some((model, decoding)) => Some((captioner_loader(model, device)()?, decoding)),
            None => None,
        };
        Ok(Models { encoder, captioner })
    }

    fn files(&self) -> anyhow::Result<Vec<ModelFile>> {
        let mut paths = match &self.captioner {
            Some((model, _)) => model.files(),
            None => Vec::new(),
        };
        paths.push(self.weights.clone());
        let look_at = |path: PathBuf| {
            ModelFile::look_at(&path).map_err(|source| EncoderError::Unreadable {
                file: path,
                source: source.into(),
            })
        };
        Ok(paths.into_iter().map(look_at).collect::<Result<_, _>>()?)
    }
}

fn encoder_loader(
    config: EncoderConfig,
    weights: PathBuf,
    device: Rc<LazyDevice>,
) -> Load<dyn Encoder, EncoderError> {
    Box::new(move || {
        let (device, kind) = device.get()?;
        tracing::debug!(?device, ?kind, weights = %weights.display(), "loading the encoder");
        encoder::load(&config, &weights, device, kind)
    })
}

fn captioner_loader(model: Model, device: Rc<LazyDevice>) -> Load<dyn Captioner, CaptionerError> {
    Box::new(move || {
        let (device, _) = device.get().map_err(EncoderError::from)?;
        tracing::debug!(?device, model = %model.directory.display(), "loading the captioner");
        model.captioner(device)
    })
}
