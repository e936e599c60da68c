//! Turns features into captions with beam scores.
