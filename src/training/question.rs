//! What features are asked beside the captions, while scenes are learnt from: a layer whose classes are the
//! answers, and the cross-entropy of the right ones.
//!
//! Scenes alone have the truth to ask for. The layers are f32 whatever else is computed in, and are left
//! behind when the model is saved.

use tch::nn::{Init, Path as Variables};
use tch::{Reduction, Tensor};

/// The answer to what is not asked.
pub const SKIPPED: i64 = -1;

/// What is asked in one layer.
pub struct Question {
    weight: Tensor,
    bias: Tensor,
}

impl Question {
    /// A question to vectors of so many features.
    ///
    /// # Errors
    ///
    /// When the device has no room.
    pub fn of_vectors(
        variables: &Variables,
        answers: usize,
        features: i64,
    ) -> Result<Self, tch::TchError> {
        Self::new(variables, &[answers as i64, features])
    }

    /// A question to each cell of maps of so many channels: a convolution of 1×1.
    ///
    /// # Errors
    ///
    /// When the device has no room.
    pub fn of_cells(
        variables: &Variables,
        answers: usize,
        channels: i64,
    ) -> Result<Self, tch::TchError> {
        Self::new(variables, &[answers as i64, channels, 1, 1])
    }

    fn new(variables: &Variables, shape: &[i64]) -> Result<Self, tch::TchError> {
        let uniform = tch::nn::init::DEFAULT_KAIMING_UNIFORM;
        Ok(Question {
            weight: variables.f_var("weight", shape, uniform)?,
            bias: variables.f_var("bias", &shape[..1], Init::Const(0.0))?,
        })
    }

    /// The cross-entropies of the right answers, in nats, over all that are asked.
    ///
    /// `x`: `[pictures, features]` or `[pictures, channels, side, side]`, f32; `right`: one for each vector
    /// or cell, cells row by row, [`SKIPPED`] where nothing is asked.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn loss(
        &self,
        x: &Tensor,
        right: &[i64],
        over_all: Reduction,
    ) -> Result<Tensor, tch::TchError> {
        let bias = Some(&self.bias);
        let answers = match self.weight.dim() {
            2 => x.f_linear(&self.weight, bias)?,
            _ => x.f_conv2d(&self.weight, bias, [1, 1], [0, 0], [1, 1], 1)?,
        };
        let mut shape = answers.size();
        // All but the answers.
        shape.remove(1);
        let right = Tensor::f_from_slice(right)?
            .f_view(&shape[..])?
            .f_to_device(x.device())?;
        let none: Option<&Tensor> = None;
        answers.f_cross_entropy_loss(&right, none, over_all, SKIPPED, 0.0)
    }
}
