//! Learns encoders and captioners from captioned images.
