-- The current row of each image: its newest, unless its file is gone.
--
-- For DuckDB, ClickHouse and PostgreSQL alike, after one of duckdb/files.sql, duckdb/load.sql,
-- clickhouse/load.sql and postgresql/table.sql has made `captions`.

CREATE OR REPLACE VIEW current_captions AS
SELECT
    uri, root, image_id, bytes, modified_at, width, height, format,
    status, error_stage, error, caption, score, beams,
    encoder_id, captioner_id, decoding, run_id, annotated_at
FROM (
    SELECT
        *,
        -- Runs are numbered in their order, so the newest row is the one with the greatest run_id.
        row_number() OVER (PARTITION BY root, uri ORDER BY run_id DESC) AS place
    FROM captions
) AS placed
WHERE place = 1 AND status <> 'deleted';
