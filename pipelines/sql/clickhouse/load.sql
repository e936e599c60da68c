-- Loads into ClickHouse what it does not have yet.
--
--   cd OUT && clickhouse local --path /srv/warehouse --multiquery < pipelines/sql/clickhouse/load.sql
--
-- On a server `file` reads below user_files_path: link OUT into it, or take `s3` with the same paths.
-- Load as often as you like. An insert is not whole to ClickHouse, so the last run that is there is
-- loaded again, and the engine keeps one row of each key.

CREATE TABLE IF NOT EXISTS captions
(
    uri String,
    root String,
    image_id Nullable(String),
    bytes Int64,
    modified_at DateTime64(6, 'UTC'),
    width Nullable(Int32),
    height Nullable(Int32),
    format LowCardinality(Nullable(String)),
    status LowCardinality(String),
    error_stage LowCardinality(Nullable(String)),
    error Nullable(String),
    caption Nullable(String),
    score Nullable(Float32),
    beams Array(Tuple(
        rank Int32,
        caption String,
        log_prob Float32,
        tokens Int32,
        score Float32,
        finished Bool
    )),
    encoder_id LowCardinality(Nullable(String)),
    captioner_id LowCardinality(Nullable(String)),
    decoding LowCardinality(Nullable(String)),
    run_id LowCardinality(String),
    annotated_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (root, uri, run_id);

INSERT INTO captions
SELECT *
FROM file('captions/run=*/part-*.parquet', 'Parquet')
WHERE run_id >= (SELECT max(run_id) FROM captions)
    -- A run that is still going has parts, but no summary yet.
    AND run_id <= (SELECT max(replaceOne(_file, '.json', '')) FROM file('runs/*.json', 'RawBLOB'));
