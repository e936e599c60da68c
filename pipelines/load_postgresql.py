"""Loads into PostgreSQL the rows of a table that it does not have yet.

    python pipelines/load_postgresql.py OUT "dbname=warehouse"

Needs pyarrow and psycopg, and the table of pipelines/sql/postgresql/table.sql. Run it as often as you
like, after each night: it takes the runs after the last one that is there, all of them or, if
something goes wrong, none. Two at once wait for each other.
"""

import sys
from pathlib import Path

import psycopg
import pyarrow.compute as pc
import pyarrow.dataset as ds
from psycopg.types.composite import CompositeInfo, register_composite

ROWS_AT_A_TIME = 4096


def new_rows(out, loaded):
    """Rows of the runs after `loaded`, in batches, up to the last run that is over: one that is still
    going has parts, but no summary yet."""
    over = max((path.stem for path in out.glob("runs/*.json")), default="")
    parts = [str(path) for path in sorted(out.glob("captions/run=*/part-*.parquet"))]
    if not parts:
        return
    run_id = pc.field("run_id")
    table = ds.dataset(parts, format="parquet", partitioning=None)
    wanted = (run_id > loaded) & (run_id <= over)
    for batch in table.to_batches(filter=wanted, batch_size=ROWS_AT_A_TIME):
        yield from batch.to_pylist()


def load(out, connection):
    """Returns how many rows were new."""
    beam = CompositeInfo.fetch(connection, "beam")
    register_composite(beam, connection)

    def field(name, value):
        if name == "beams":
            return [beam.python_type(**each) for each in value]
        # The one character that PostgreSQL's text cannot hold.
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value

    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE captions IN SHARE ROW EXCLUSIVE MODE")
        [loaded] = cursor.execute("SELECT coalesce(max(run_id), '') FROM captions").fetchone()
        columns = [column.name for column in cursor.execute("SELECT * FROM captions LIMIT 0").description]
        # By way of a table without a key: while parts are being merged, a row may be in two of them.
        cursor.execute("CREATE TEMPORARY TABLE incoming (LIKE captions) ON COMMIT DROP")
        with cursor.copy(f"COPY incoming ({', '.join(columns)}) FROM STDIN") as copy:
            for row in new_rows(out, loaded):
                copy.write_row([field(name, row[name]) for name in columns])
        cursor.execute("INSERT INTO captions SELECT * FROM incoming ON CONFLICT DO NOTHING")
        return cursor.rowcount


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    with psycopg.connect(sys.argv[2]) as connection:
        print(f"{load(Path(sys.argv[1]), connection)} new rows")


if __name__ == "__main__":
    main()
