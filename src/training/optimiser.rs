//! Optimisers whose whole state can be written down and taken up again. libtorch's own do not show
//! theirs through tch.
//!
//! The formulas are PyTorch's, and so are the results (`tests/golden/training`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::VarStore;

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Method {
    /// b = momentum · b + g (g at the first step), p -= rate · b
    Sgd {
        #[serde(default)]
        momentum: f64,
    },
    /// Kingma and Ba (arXiv 1412.6980, algorithm 1):
    /// m = beta1 · m + (1 - beta1) · g, v = beta2 · v + (1 - beta2) · g²,
    /// p -= rate · m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
    Adam {
        #[serde(default = "beta1")]
        beta1: f64,
        #[serde(default = "beta2")]
        beta2: f64,
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Tieleman and Hinton (Neural Networks for Machine Learning, lecture 6.5):
    /// v = decay · v + (1 - decay) · g², b = momentum · b + g / (sqrt(v) + epsilon), p -= rate · b
    RmsProp {
        #[serde(default = "decay")]
        decay: f64,
        #[serde(default = "epsilon")]
        epsilon: f64,
        #[serde(default)]
        momentum: f64,
    },
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-8
}

fn decay() -> f64 {
    0.99
}

impl Default for Method {
    /// Adam with the published constants.
    fn default() -> Self {
        Method::Adam {
            beta1: beta1(),
            beta2: beta2(),
            epsilon: epsilon(),
        }
    }
}

impl Method {
    /// # Errors
    ///
    /// When a constant is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let (shares, above_zero) = match *self {
            Method::Sgd { momentum } => ([momentum, 0.0], 1.0),
            Method::Adam {
                beta1,
                beta2,
                epsilon,
            } => ([beta1, beta2], epsilon),
            Method::RmsProp {
                decay,
                epsilon,
                momentum,
            } => ([decay, momentum], epsilon),
        };
        match shares.iter().all(|share| (0.0..1.0).contains(share)) && above_zero > 0.0 {
            true => Ok(()),
            false => Err(
                "training.optimiser: momentum, beta1, beta2 and decay are shares below 1, epsilon is \
                 above 0"
                    .to_owned(),
            ),
        }
    }

    /// Names of the tensors that are remembered for each parameter.
    fn moments(&self) -> &'static [&'static str] {
        match self {
            Method::Sgd { momentum } if *momentum == 0.0 => &[],
            Method::Sgd { .. } => &["momentum"],
            Method::Adam { .. } => &["mean", "square"],
            Method::RmsProp { momentum, .. } if *momentum == 0.0 => &["square"],
            Method::RmsProp { .. } => &["square", "momentum"],
        }
    }
}

/// Parameters that share a step size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Encoder,
    Others,
}

struct Parameter {
    name: String,
    tensor: Tensor,
    group: Group,
    /// Steps that it took part in.
    steps: i64,
    /// As many as [`Method::moments`], once it has taken part in a step.
    moments: Vec<Tensor>,
}

/// See the [module](self).
pub struct Optimiser {
    method: Method,
    /// In the order of their names.
    parameters: Vec<Parameter>,
}

impl Optimiser {
    /// Learns all of the variables that want gradients; those below `encoder` are a group of their
    /// own.
    pub fn new(method: Method, variables: &VarStore) -> Self {
        let named: BTreeMap<_, _> = variables.variables().into_iter().collect();
        let learnt = named
            .into_iter()
            .filter(|(_, tensor)| tensor.requires_grad());
        let parameters = learnt.map(|(name, tensor)| Parameter {
            group: match name.starts_with("encoder.") {
                true => Group::Encoder,
                false => Group::Others,
            },
            name,
            tensor,
            steps: 0,
            moments: Vec::new(),
        });
        Optimiser {
            method,
            parameters: parameters.collect(),
        }
    }

    /// Values that are learnt.
    pub fn values(&self) -> usize {
        self.parameters.iter().map(|p| p.tensor.numel()).sum()
    }

    /// The gradient of `loss` by each parameter; `None` for those that it does not depend on.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn gradients(&self, loss: &Tensor) -> Result<Gradients, tch::TchError> {
        let parameters: Vec<_> = self.parameters.iter().map(|p| &p.tensor).collect();
        let gradients = Tensor::f_run_backward(&[loss], &parameters, false, false)?;
        let defined = gradients.into_iter().map(|g| g.defined().then_some(g));
        Ok(Gradients(defined.collect()))
    }

    /// Changes the parameters; `rate` gives the step size of each group.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn step(
        &mut self,
        gradients: &Gradients,
        rate: impl Fn(Group) -> f64,
    ) -> Result<(), tch::TchError> {
        let _no_gradients = tch::no_grad_guard();
        let method = self.method;
        for (parameter, gradient) in self.parameters.iter_mut().zip(&gradients.0) {
            if let Some(gradient) = gradient {
                parameter.step(method, gradient, rate(parameter.group))?;
            }
        }
        Ok(())
    }

    /// What [`restore`](Self::restore) takes up again.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>, tch::TchError> {
        let mut state = Vec::new();
        for parameter in &self.parameters {
            let name = &parameter.name;
            state.push((
                format!("{name}.steps"),
                Tensor::f_from_slice(&[parameter.steps])?,
            ));
            for (moment, tensor) in self.method.moments().iter().zip(&parameter.moments) {
                state.push((format!("{name}.{moment}"), tensor.shallow_clone()));
            }
        }
        Ok(state)
    }

    /// Takes up what [`state`](Self::state) gave. Whether it did, for the same parameters.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<bool, tch::TchError> {
        for parameter in &mut self.parameters {
            let name = &parameter.name;
            let Some(steps) = state.get(&format!("{name}.steps")) else {
                return Ok(false);
            };
            parameter.steps = steps.f_int64_value(&[0])?;
            parameter.moments.clear();
            if parameter.steps == 0 {
                continue;
            }
            for moment in self.method.moments() {
                match state.get(&format!("{name}.{moment}")) {
                    Some(tensor) if tensor.size() == parameter.tensor.size() => {
                        let device = parameter.tensor.device();
                        parameter.moments.push(tensor.f_to_device(device)?);
                    }
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

impl Parameter {
    fn step(&mut self, method: Method, g: &Tensor, rate: f64) -> Result<(), tch::TchError> {
        let is_first = self.steps == 0;
        self.steps += 1;
        if is_first {
            for _ in method.moments() {
                self.moments.push(self.tensor.f_zeros_like()?.f_detach()?);
            }
        }
        let p = &mut self.tensor;
        match (method, &mut self.moments[..]) {
            (Method::Sgd { momentum }, [b]) => {
                let _ = b.f_mul_scalar_(momentum)?.f_add_(g)?;
                let _ = p.f_sub_(&b.f_mul_scalar(rate)?)?;
            }
            (
                Method::Adam {
                    beta1,
                    beta2,
                    epsilon,
                },
                [m, v],
            ) => {
                let steps = self.steps as f64;
                let _ = m.f_lerp_(g, 1.0 - beta1)?;
                let scaled = g.f_mul_scalar((1.0 - beta2).sqrt())?;
                let _ = v.f_mul_scalar_(beta2)?.f_addcmul_(&scaled, &scaled)?;
                let root = (1.0 - beta2.powf(steps)).sqrt();
                let divisor = v.f_sqrt()?.f_div_scalar_(root)?.f_add_scalar_(epsilon)?;
                let step = m.f_mul_scalar(-rate / (1.0 - beta1.powf(steps)))?;
                let _ = p.f_addcdiv_(&step, &divisor)?;
            }
            (
                Method::RmsProp {
                    decay,
                    epsilon,
                    momentum,
                },
                [v, b @ ..],
            ) => {
                let scaled = g.f_mul_scalar((1.0 - decay).sqrt())?;
                let _ = v.f_mul_scalar_(decay)?.f_addcmul_(&scaled, &scaled)?;
                let step = g.f_div(&v.f_sqrt()?.f_add_scalar_(epsilon)?)?;
                let step = match b {
                    [b, ..] => b.f_mul_scalar_(momentum)?.f_add_(&step)?,
                    [] => step,
                };
                let _ = p.f_sub_(&step.f_mul_scalar(rate)?)?;
            }
            // Without momentum nothing is remembered.
            _ => {
                let _ = p.f_sub_(&g.f_mul_scalar(rate)?)?;
            }
        }
        Ok(())
    }
}

/// Gradients of the parameters of an [`Optimiser`], in their order.
pub struct Gradients(Vec<Option<Tensor>>);

impl Gradients {
    /// L2 norm of all together, as of one vector.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn norm(&self) -> Result<f64, tch::TchError> {
        let mut norms = Vec::new();
        for gradient in self.0.iter().flatten() {
            norms.push(gradient.f_norm()?);
        }
        match norms.is_empty() {
            true => Ok(0.0),
            false => Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[]),
        }
    }

    /// Scales all so that their norm, which is `norm` now, is `most` at most, as PyTorch's
    /// `clip_grad_norm_` does.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn clip_norm(&mut self, norm: f64, most: f64) -> Result<(), tch::TchError> {
        let factor = most / (norm + 1e-6);
        if factor < 1.0 {
            for gradient in self.0.iter_mut().flatten() {
                let _ = gradient.f_mul_scalar_(factor)?;
            }
        }
        Ok(())
    }

    /// Brings each entry between -`most` and `most`.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn clip_values(&mut self, most: f64) -> Result<(), tch::TchError> {
        for gradient in self.0.iter_mut().flatten() {
            let _ = gradient.f_clamp_(-most, most)?;
        }
        Ok(())
    }
}
