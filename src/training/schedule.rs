//! How step size and scheduled sampling change in the course of a training: both are functions of the
//! step alone, so a training that is gone on with needs to remember nothing of them.

use serde::{Deserialize, Serialize};

/// The step size after the warm-up, as a share of the highest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Schedule {
    Constant,
    /// Falls to zero as a cosine (arXiv 1608.03983, without restarts).
    #[default]
    Cosine,
    /// Is multiplied by `factor` at the end of each of these epochs.
    Steps {
        after: Vec<u64>,
        factor: f64,
    },
    /// Is halved every so many epochs, as Show and Tell's is (im2txt: 8).
    Halving {
        epochs: u64,
    },
}

/// Where a training stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    pub steps_per_epoch: u64,
}

impl Schedule {
    /// Share of the highest step size; `warm_up` steps come before the schedule begins to fall.
    pub fn factor(&self, place: Place, warm_up: u64) -> f64 {
        if place.step < warm_up {
            return (place.step + 1) as f64 / warm_up as f64;
        }
        let epochs = place.step / place.steps_per_epoch.max(1);
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let all = place.steps.saturating_sub(warm_up).max(1);
                let progress = (place.step - warm_up) as f64 / all as f64;
                0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Schedule::Steps { after, factor } => {
                let passed = after.iter().filter(|after| **after <= epochs).count();
                factor.powi(i32::try_from(passed).unwrap_or(i32::MAX))
            }
            Schedule::Halving { epochs: each } => {
                let halvings = epochs / (*each).max(1);
                0.5f64.powi(i32::try_from(halvings).unwrap_or(i32::MAX))
            }
        }
    }

    /// # Errors
    ///
    /// When no step size could come of it.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Schedule::Steps { factor, .. } if !(*factor > 0.0 && *factor <= 1.0) => Err(format!(
                "training.schedule.factor must be above 0 and at most 1, not {factor}"
            )),
            Schedule::Halving { epochs: 0 } => {
                Err("training.schedule.epochs must be at least 1".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Scheduled sampling (Bengio, Vinyals, Jaitly, Shazeer, arXiv 1506.03099): with the probability
/// 1 - epsilon the word that is fed is not the caption's but drawn from what the model said at the
/// step before. Epsilon falls in the course of the training, in one of the ways of section 2.4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decay", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OwnWords {
    /// max(`least`, 1 - `slope` · step)
    Linear { slope: f64, least: f64 },
    /// `base` ^ step
    Exponential { base: f64 },
    /// `scale` / (`scale` + exp(step / `scale`))
    InverseSigmoid { scale: f64 },
}

impl OwnWords {
    /// 1 - epsilon after so many steps.
    pub fn share(&self, step: u64) -> f64 {
        let step = step as f64;
        let epsilon = match *self {
            OwnWords::Linear { slope, least } => (1.0 - slope * step).max(least),
            OwnWords::Exponential { base } => base.powf(step),
            OwnWords::InverseSigmoid { scale } => scale / (scale + (step / scale).exp()),
        };
        1.0 - epsilon
    }

    /// # Errors
    ///
    /// When no probability could come of it.
    pub fn check(&self) -> Result<(), String> {
        let fits = match *self {
            OwnWords::Linear { slope, least } => slope >= 0.0 && (0.0..=1.0).contains(&least),
            OwnWords::Exponential { base } => base > 0.0 && base < 1.0,
            OwnWords::InverseSigmoid { scale } => scale >= 1.0,
        };
        match fits {
            true => Ok(()),
            false => Err(
                "training.scheduled_sampling: slope must be at least 0, least 0 to 1, base between 0 \
                 and 1, scale at least 1"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(schedule: &Schedule, step: u64) -> f64 {
        let place = Place {
            step,
            steps: 100,
            steps_per_epoch: 20,
        };
        schedule.factor(place, 10)
    }

    #[test]
    fn the_step_size_rises_then_falls_to_zero() {
        let cosine = Schedule::Cosine;
        assert_eq!(factor(&cosine, 0), 0.1);
        assert_eq!(factor(&cosine, 9), 1.0);
        assert_eq!(factor(&cosine, 10), 1.0);
        assert!((factor(&cosine, 55) - 0.5).abs() < 1e-9);
        assert!(factor(&cosine, 100) < 1e-9);
        assert!(factor(&cosine, 99) > 0.0);
    }

    #[test]
    fn it_falls_at_the_end_of_epochs() {
        let halving = Schedule::Halving { epochs: 2 };
        let steps = Schedule::Steps {
            after: vec![1, 3],
            factor: 0.1,
        };
        let check = |schedule, step, expected: f64| {
            let found = factor(schedule, step);
            assert!((found - expected).abs() < 1e-12, "{step}: {found}");
        };
        check(&Schedule::Constant, 99, 1.0);
        check(&halving, 39, 1.0);
        check(&halving, 40, 0.5);
        check(&halving, 80, 0.25);
        check(&steps, 19, 1.0);
        check(&steps, 20, 0.1);
        check(&steps, 60, 0.01);
    }

    #[test]
    fn own_words_become_more() {
        let check = |decay: OwnWords, step, expected: f64| {
            let found = decay.share(step);
            assert!((found - expected).abs() < 1e-9, "{decay:?} {step}: {found}");
        };
        let linear = OwnWords::Linear {
            slope: 0.01,
            least: 0.75,
        };
        check(linear.clone(), 0, 0.0);
        check(linear.clone(), 10, 0.1);
        check(linear, 1000, 0.25);
        check(OwnWords::Exponential { base: 0.5 }, 1, 0.5);
        check(OwnWords::InverseSigmoid { scale: 10.0 }, 0, 1.0 / 11.0);
        assert!(OwnWords::InverseSigmoid { scale: 10.0 }.share(10_000) > 0.999);
    }

    #[test]
    fn what_could_not_be_is_refused() {
        assert!(Schedule::Halving { epochs: 0 }.check().is_err());
        assert!(OwnWords::Exponential { base: 1.5 }.check().is_err());
    }
}
