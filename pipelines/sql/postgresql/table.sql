-- The table for PostgreSQL; load_postgresql.py fills it.
--
--   psql -d warehouse -f pipelines/sql/postgresql/table.sql
--   python pipelines/load_postgresql.py OUT "dbname=warehouse"

DO $$
BEGIN
    CREATE TYPE beam AS (
        rank integer,
        caption text,
        log_prob real,
        tokens integer,
        score real,
        finished boolean
    );
EXCEPTION
    WHEN duplicate_object THEN NULL;
END
$$;

-- COLLATE "C" is the order in which the program compares: by byte.
CREATE TABLE IF NOT EXISTS captions (
    uri text COLLATE "C" NOT NULL,
    root text COLLATE "C" NOT NULL,
    image_id text,
    bytes bigint NOT NULL,
    modified_at timestamptz NOT NULL,
    width integer,
    height integer,
    format text,
    status text NOT NULL,
    error_stage text,
    error text,
    caption text,
    score real,
    beams beam[] NOT NULL,
    encoder_id text,
    captioner_id text,
    decoding text,
    run_id text COLLATE "C" NOT NULL,
    annotated_at timestamptz NOT NULL,
    PRIMARY KEY (root, uri, run_id)
);

CREATE INDEX IF NOT EXISTS captions_run ON captions (run_id);
