//! Where to compute, found out when something is to be computed for the first time: a run that
//! computes nothing does not load libtorch's CUDA half.

use std::cell::OnceCell;

use tch::{Device, Kind};

use super::{Cpu, DeviceChoice, DeviceError, Precision, load_cuda};

/// A device and a type that were asked for and not looked for yet.
#[derive(Debug)]
pub struct LazyDevice {
    device: DeviceChoice,
    precision: Precision,
    found: OnceCell<(Device, Kind)>,
}

impl LazyDevice {
    pub fn new(device: DeviceChoice, precision: Precision) -> Self {
        LazyDevice {
            device,
            precision,
            found: OnceCell::new(),
        }
    }

    /// The device and the type to compute in. To be asked before the first tensor is made.
    ///
    /// # Errors
    /// Those of [`DeviceChoice::resolve`] and [`Precision::resolve`].
    pub fn get(&self) -> Result<(Device, Kind), DeviceError> {
        if let Some(found) = self.found.get() {
            return Ok(*found);
        }
        let runtime = load_cuda();
        let device = self.device.resolve(runtime)?;
        let kind = self.precision.resolve(device, runtime, &Cpu::detect())?;
        Ok(*self.found.get_or_init(|| (device, kind)))
    }
}
