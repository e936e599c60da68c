//! Tells from the features which words the captions hold: a loss that makes an encoder look at
//! pictures.
//!
//! From nothing, the caption loss alone learns the language and never uses the picture. The layer is
//! left behind when the model is saved.

use tch::Tensor;
use tch::nn::{Init, Path as Variables};

/// Which words the captions of each picture agree on; both `[pictures, words]`, f32.
///
/// Words that some captions hold and others do not are how people word things, not what they see:
/// telling them would only teach noise.
pub struct WordPresence {
    /// 1 where nearly all captions hold the word.
    pub present: Tensor,
    /// 0 where only some do.
    pub counted: Tensor,
}

/// One linear layer.
pub struct Presence {
    weight: Tensor,
    bias: Tensor,
}

impl Presence {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(variables: &Variables, features: i64, words: i64) -> Result<Self, tch::TchError> {
        let bound = 1.0 / (features as f64).sqrt();
        let uniform = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Ok(Presence {
            weight: variables.f_var("weight", &[words, features], uniform)?,
            // Most words are in few captions.
            bias: variables.f_var("bias", &[words], Init::Const(-2.0))?,
        })
    }

    /// Binary cross-entropy, summed over the vocabulary and averaged over the pictures, of telling
    /// which words a picture's captions agree on.
    ///
    /// `features`: `[pictures, features]`, f32.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn loss(&self, features: &Tensor, words: &WordPresence) -> Result<Tensor, tch::TchError> {
        let none: Option<&Tensor> = None;
        let logits = features.f_linear(&self.weight, Some(&self.bias))?;
        let sum = logits.f_binary_cross_entropy_with_logits(
            &words.present,
            Some(&words.counted),
            none,
            tch::Reduction::Sum,
        )?;
        sum.f_div_scalar(words.present.size()[0])
    }
}
