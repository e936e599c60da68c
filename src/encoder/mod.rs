//! Turns pixels into VGG-16 features.

/// Chooses the device and the precision to compute on.
pub mod device;
