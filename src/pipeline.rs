//! Wires the stages into one run.
