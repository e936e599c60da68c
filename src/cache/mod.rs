//! Keeps features as Parquet, keyed by content and encoder.
