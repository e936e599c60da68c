//! Turns pixels into VGG-16 features.
