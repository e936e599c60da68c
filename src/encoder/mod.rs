//! Turns pixels into VGG-16 features.

/// Turns pictures into the squares that an encoder looks at.
pub mod preprocess;
