//! Measures captions against references.

pub mod tokenizer;
