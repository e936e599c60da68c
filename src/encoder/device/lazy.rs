//! Where to compute, found out when something is to be computed for the first time: a run that
//! computes nothing does not load libtorch's CUDA half.

use std::sync::OnceLock;

use tch::{Device, Kind};

use super::{Cpu, DeviceChoice, DeviceError, Precision, load_cuda};

/// A device and a type that were asked for and not looked for yet.
#[derive(Debug)]
pub struct LazyDevice {
    device: DeviceChoice,
    precision: Precision,
    found: OnceLock<(Vec<Device>, Kind)>,
}

impl LazyDevice {
    pub fn new(device: DeviceChoice, precision: Precision) -> Self {
        LazyDevice {
            device,
            precision,
            found: OnceLock::new(),
        }
    }

    /// The device and the type to compute in; of several devices the first. To be asked before the
    /// first tensor is made.
    ///
    /// # Errors
    /// Those of [`DeviceChoice::find`] and [`Precision::resolve`].
    pub fn get(&self) -> Result<(Device, Kind), DeviceError> {
        let (devices, kind) = self.all()?;
        Ok((devices[0], kind))
    }

    /// All devices, at least one, and the type to compute in. To be asked before the first tensor is made.
    ///
    /// # Errors
    /// Those of [`DeviceChoice::find`] and [`Precision::resolve`], of whichever device.
    pub fn all(&self) -> Result<(&[Device], Kind), DeviceError> {
        let (devices, kind) = match self.found.get() {
            Some(found) => found,
            None => {
                let found = self.find()?;
                self.found.get_or_init(|| found)
            }
        };
        Ok((devices, *kind))
    }

    fn find(&self) -> Result<(Vec<Device>, Kind), DeviceError> {
        let runtime = load_cuda();
        let cpu = Cpu::detect();
        let devices = self.device.find(runtime)?;
        let kinds = devices
            .iter()
            .map(|device| self.precision.resolve(*device, runtime, &cpu))
            .collect::<Result<Vec<_>, _>>()?;
        // GPUs of different kinds: what all of them can is fp32.
        let same = kinds.iter().all(|kind| *kind == kinds[0]);
        let kind = if same { kinds[0] } else { Kind::Float };
        Ok((devices, kind))
    }
}
