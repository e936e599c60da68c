-- Loads into a DuckDB database what it does not have yet.
--
--   cd OUT && duckdb /srv/warehouse.duckdb < pipelines/sql/duckdb/load.sql
--
-- Load as often as you like: it takes the runs after the last one that is there, whole, or nothing.

CREATE TABLE IF NOT EXISTS captions AS
SELECT *
FROM read_parquet('captions/run=*/part-*.parquet', hive_partitioning = false)
LIMIT 0;

INSERT INTO captions
SELECT DISTINCT ON (root, uri, run_id) *
FROM read_parquet('captions/run=*/part-*.parquet', hive_partitioning = false)
WHERE run_id > (SELECT coalesce(max(run_id), '') FROM captions)
    -- A run that is still going has parts, but no summary yet.
    AND run_id <= (SELECT max(parse_filename(file, true)) FROM glob('runs/*.json'));
