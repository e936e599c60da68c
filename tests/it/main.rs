//! The library and the command as their users meet them, in one binary.

/// The command over archives of every kind.
mod annotate;
/// The archive stage over good and bad files.
mod archive;
mod broken;
/// Features written and read back by the parquet crate.
mod cache;
/// Weights fetched from a server on loopback.
mod hub;
/// Drawn scenes and the samples that ship.
mod scenes;
/// Captions written and read back by the arrow and parquet crates.
mod table;
/// The encoder against torchvision.
mod vgg16;
