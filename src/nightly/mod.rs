//! Decides what a run has to do: what is new, what is known.
