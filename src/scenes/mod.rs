//! Draws scenes with known truth and captions.
