-- What the last run that had something to do changed: one row for each image that it wrote about.
--
-- For DuckDB, ClickHouse and PostgreSQL alike. To see another night, write its run_id instead of both
-- subqueries.

SELECT
    CASE
        WHEN status_now = 'deleted' THEN 'deleted'
        WHEN status_before IS NULL THEN 'new'
        WHEN status_before = 'deleted' THEN 'back'
        WHEN status_now = 'failed' AND status_before = 'failed' THEN 'still failing'
        WHEN status_now = 'failed' THEN 'fails now'
        WHEN status_before = 'failed' THEN 'mended'
        WHEN image_id_now <> image_id_before THEN 'changed'
        WHEN caption_now <> caption_before THEN 'captioned anew'
        ELSE 'as before'
    END AS what,
    root,
    uri,
    caption_now,
    caption_before,
    error_now
FROM (
    -- Of each image, the newest row and the one before it, side by side.
    SELECT
        root,
        uri,
        max(CASE WHEN age = 1 THEN run_id END) AS run_id_now,
        max(CASE WHEN age = 1 THEN status END) AS status_now,
        max(CASE WHEN age = 1 THEN image_id END) AS image_id_now,
        max(CASE WHEN age = 1 THEN caption END) AS caption_now,
        max(CASE WHEN age = 1 THEN error END) AS error_now,
        max(CASE WHEN age = 2 THEN status END) AS status_before,
        max(CASE WHEN age = 2 THEN image_id END) AS image_id_before,
        max(CASE WHEN age = 2 THEN caption END) AS caption_before
    FROM (
        SELECT
            root, uri, run_id, status, image_id, caption, error,
            -- Not row_number: a row that was loaded twice is still one.
            dense_rank() OVER (PARTITION BY root, uri ORDER BY run_id DESC) AS age
        FROM captions
        WHERE run_id <= (SELECT max(run_id) FROM captions)
    ) AS aged
    WHERE age <= 2
    GROUP BY root, uri
) AS paired
WHERE run_id_now = (SELECT max(run_id) FROM captions)
ORDER BY what, root, uri;
