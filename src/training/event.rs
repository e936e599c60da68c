//! What a training tells while it runs.
//!
//! Losses and measures come as lists of names and values, because which there are depends on what is
//! learnt from: whoever shows or keeps them needs to know none by name.

/// A name and what was measured under it.
pub type Measure = (&'static str, f64);

/// See the [module](self).
#[derive(Debug)]
pub enum Event<'a> {
    /// Told once, before the first step.
    Started {
        /// Steps of the whole training.
        steps: u64,
        steps_per_epoch: u64,
        /// The last step of the checkpoint that is gone on from; 0 where nothing was done before.
        /// Whatever was told of later steps is void: they are done again.
        resumed_at: u64,
        parameters: usize,
        words: usize,
    },
    /// Told after each step.
    Step {
        /// From 1.
        step: u64,
        /// From 1.
        epoch: u64,
        /// Mean negative log-probability of a token, in nats.
        loss: f64,
        /// What else is made small, each before its weight.
        losses: &'a [Measure],
        learning_rate: f64,
        /// Norm of the gradient before it is clipped.
        gradient_norm: f64,
        pictures: usize,
        /// End tokens included, padding not.
        tokens: usize,
    },
    /// Told after each epoch, once it is judged and, if it is the best, saved.
    Epoch {
        /// From 1.
        epoch: u64,
        /// The epoch's last.
        step: u64,
        /// Mean of the steps' losses.
        loss: f64,
        /// Of the pictures that the model is judged by; larger is better.
        validation: &'a [Measure],
        samples: &'a [Sample],
        /// Whether it is the best so far.
        saved: bool,
    },
    /// Told before everything that it takes to go on after this step is written to disk.
    Checkpoint { step: u64 },
}

/// What the model says of a picture that it is judged by. The same pictures after each epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The picture's name in its data set.
    pub picture: String,
    pub caption: String,
    /// What people said of it, where they did.
    pub references: Vec<String>,
}
