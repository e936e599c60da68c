//! Turns an archive of images into a table of captions.
//!
//! The modules stand in the order in which data flows through them.
//!
//! Programs that handle signals should block them in the threads that compute, and in those that these
//! start: oneDNN's matrix products use the stack pointer for data, so that a handler which runs on top
//! of one overwrites the heap.

/// Finds the files of an archive, tells which are images, and decodes them.
pub mod archive;
/// Keeps features as Parquet, keyed by content and encoder.
pub mod cache;
/// Turns features into captions with beam scores.
pub mod captioner;
/// Turns pixels into VGG-16 features.
pub mod encoder;
/// Compares the archive with what the table already holds.
pub mod nightly;
/// Wires the stages above into one run.
pub mod pipeline;
/// Writes captions as rows of Parquet and Arrow tables.
pub mod table;
/// Looks after an output directory between runs: what is in it, and keeping it small.
pub mod upkeep;

/// Reads published data sets of captioned images.
pub mod dataset;
/// Measures captions against references.
pub mod evaluation;
/// Draws where a captioner with attention looks.
pub mod explain;
/// Fetches published weights by name and finds models on disk.
pub mod hub;
/// Draws the data set that the demonstration model learns from.
pub mod scenes;
/// Learns encoders and captioners from captioned images.
pub mod training;

#[cfg(test)]
mod seeded;
