-- DuckDB over the files where they are: nothing is loaded, and each query sees the last finished run.
--
--   cd OUT && duckdb -init pipelines/sql/duckdb/files.sql       (both paths as they are on your machine)
--
-- Then ../current.sql, ../last_night.sql, ../failures.sql and search.sql.

CREATE OR REPLACE VIEW captions AS
SELECT *
FROM read_parquet('captions/run=*/part-*.parquet', hive_partitioning = false)
-- A run that is still going has parts, but no summary yet.
WHERE run_id <= (SELECT max(parse_filename(file, true)) FROM glob('runs/*.json'));
