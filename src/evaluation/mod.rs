//! Measures captions against references.
