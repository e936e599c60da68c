//! Writes captions as rows of Parquet and Arrow tables.
