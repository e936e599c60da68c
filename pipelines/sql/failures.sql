-- Why images have no caption, the commonest reason first, with an example of each.
--
-- For DuckDB, ClickHouse and PostgreSQL alike.

SELECT
    error_stage,
    error,
    count(*) AS images,
    min(uri) AS example,
    min(run_id) AS since
FROM current_captions
WHERE status = 'failed'
GROUP BY error_stage, error
ORDER BY images DESC, error_stage, error;
