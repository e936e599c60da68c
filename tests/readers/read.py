"""Reads an output directory the way its users do, and sees that they all read the same.

    python tests/readers/read.py OUT

pyarrow, DuckDB and Polars each read the caption parts, captions.arrow and the embeddings. Every
value that one of them reads has to be what the others read, and the table has to keep its contract:
columns, types, nulls, keys, order, and captions.arrow being the newest row of each image. Prints
what was checked, and ends with a status other than 0 at the first thing that is not so.
"""

import json
import struct
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

MOMENT = pa.timestamp("us", tz="UTC")
BEAM = pa.struct(
    [
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("log_prob", pa.float32(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("finished", pa.bool_(), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("root", pa.string(), nullable=False),
        pa.field("image_id", pa.string()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("modified_at", MOMENT, nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error_stage", pa.string()),
        pa.field("error", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("beams", pa.list_(pa.field("element", BEAM, nullable=False)), nullable=False),
        pa.field("encoder_id", pa.string()),
        pa.field("captioner_id", pa.string()),
        pa.field("decoding", pa.string()),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("annotated_at", MOMENT, nullable=False),
    ]
)
DUCKDB_TYPES = {
    "beams": "STRUCT(rank INTEGER, caption VARCHAR, log_prob FLOAT, tokens INTEGER, "
    "score FLOAT, finished BOOLEAN)[]",
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    MOMENT: "TIMESTAMP WITH TIME ZONE",
}
POLARS_TYPES = {
    "beams": pl.List(
        pl.Struct(
            {
                "rank": pl.Int32,
                "caption": pl.String,
                "log_prob": pl.Float32,
                "tokens": pl.Int32,
                "score": pl.Float32,
                "finished": pl.Boolean,
            }
        )
    ),
    pa.string(): pl.String,
    pa.int32(): pl.Int32,
    pa.int64(): pl.Int64,
    pa.float32(): pl.Float32,
    MOMENT: pl.Datetime("us", "UTC"),
}


def expect(holds, what):
    if not holds:
        sys.exit(f"read.py: {what}")


def key(row):
    """The order of the table: roots by byte, then paths component by component."""
    return row["root"].encode(), [name.encode() for name in row["uri"].split("/")]


def expect_equal(ours, theirs, reader, what):
    expect(len(ours) == len(theirs), f"{reader} reads {len(theirs)} rows of {what}, not {len(ours)}")
    for number, (our, their) in enumerate(zip(ours, theirs)):
        for column in our:
            expect(
                our[column] == their[column],
                f"{reader} reads {column} of row {number} of {what} as {their[column]!r}, "
                f"pyarrow as {our[column]!r}",
            )


def check_duckdb(database, relation, rows, what):
    """`relation` is what comes after FROM."""
    types = dict(database.sql(f"DESCRIBE SELECT * FROM {relation}").project("column_name, column_type").fetchall())
    for field in SCHEMA:
        expected = DUCKDB_TYPES.get(field.name) or DUCKDB_TYPES[field.type]
        expect(types.get(field.name) == expected, f"DuckDB has {field.name} of {what} as {types.get(field.name)}")
    read = database.sql(f"SELECT * FROM {relation}").to_arrow_table().to_pylist()
    expect_equal(rows, read, "DuckDB", what)
    counted = database.sql(
        f"SELECT status, count(*), coalesce(sum(len(beams)), 0)::BIGINT, count(caption) FROM {relation} GROUP BY status"
    ).fetchall()
    for status, count, beams, captions in counted:
        of_status = [row for row in rows if row["status"] == status]
        ours = (
            len(of_status),
            sum(len(row["beams"]) for row in of_status),
            sum(row["caption"] is not None for row in of_status),
        )
        expect(ours == (count, beams, captions), f"DuckDB counts {status} rows of {what} otherwise")


def check_polars(frame, rows, what):
    for field in SCHEMA:
        expected = POLARS_TYPES.get(field.name) or POLARS_TYPES[field.type]
        found = frame.schema.get(field.name)
        expect(found == expected, f"Polars has {field.name} of {what} as {found}")
    expect_equal(rows, frame.to_dicts(), "Polars", what)


def check_row(row, what):
    where = f"{row['uri']!r} in {what}"
    for field in SCHEMA:
        expect(field.nullable or row[field.name] is not None, f"{field.name} is null for {where}")
    status = row["status"]
    expect(status in ("captioned", "failed", "deleted"), f"status {status!r} for {where}")
    failed = status == "failed"
    expect((row["error_stage"] is not None) == failed, f"error_stage for {where}, which is {status}")
    expect((row["error"] is not None) == failed, f"error for {where}, which is {status}")
    beams = row["beams"]
    expect([beam["rank"] for beam in beams] == list(range(1, len(beams) + 1)), f"ranks for {where}")
    best = beams[0] if beams else {"caption": None, "score": None}
    expect(row["caption"] == best["caption"], f"caption for {where} is not its best beam's")
    expect(row["score"] == best["score"], f"score for {where} is not its best beam's")
    if status == "captioned":
        expect(row["caption"] is not None and row["image_id"] is not None, f"{where} has no caption or id")
        expect(row["encoder_id"] and row["captioner_id"] and row["decoding"], f"{where} has no maker")
    else:
        expect(not beams, f"beams for {where}, which is {status}")
    expect(row["image_id"] is None or len(row["image_id"]) == 64, f"image_id for {where}")


def check_schema(found, what):
    missing = [field.name for field in SCHEMA if field.name not in found.names]
    expect(not missing, f"{what} has no {missing}")
    expect(found.names == SCHEMA.names, f"{what} has columns {found.names}")
    for ours, theirs in zip(SCHEMA, found):
        expect(theirs.equals(ours), f"{what} has {theirs}, expected {ours}")


def check_parts(out, database):
    """Returns the rows of all parts."""
    files = [str(path) for path in sorted(out.glob("captions/run=*/part-*.parquet"))]
    rows = []
    for file in files:
        part = pq.ParquetFile(file)
        check_schema(part.schema_arrow, file)
        read = part.read().to_pylist()
        expect(len(read) == part.metadata.num_rows, f"{file} does not have the rows it says")
        expect([key(row) for row in read] == sorted(key(row) for row in read), f"{file} is not in order")
        run_id = Path(file).parent.name.removeprefix("run=")
        # Compacting puts rows of earlier runs beside those of the last of them.
        expect(all(row["run_id"] <= run_id for row in read), f"{file} has rows of a later run")
        statistics = part.metadata.row_group(0).column(SCHEMA.get_field_index("bytes")).statistics
        expect(statistics is not None and statistics.has_min_max, f"{file} has no statistics")
        rows.extend(read)
    for row in rows:
        check_row(row, "the parts")
    keys = [(row["run_id"], row["root"], row["uri"]) for row in rows]
    expect(len(set(keys)) == len(keys), "a run has two rows for one image")
    if files:
        relation = f"read_parquet({files!r}, hive_partitioning = false)"
        check_duckdb(database, relation, rows, "the parts")
        check_polars(pl.read_parquet(files, hive_partitioning=False), rows, "the parts")
    print(f"captions: {len(rows)} rows in {len(files)} parts, the same to pyarrow, DuckDB and Polars")
    return rows


def check_snapshot(out, database, part_rows):
    path = out / "captions.arrow"
    expect(path.exists(), f"{path} does not exist")
    before = pa.total_allocated_bytes()
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    table = reader.read_all()
    expect(pa.total_allocated_bytes() == before, f"{path} had to be copied to be read")
    table.validate(full=True)
    check_schema(reader.schema, path)
    notes = {name.decode(): value.decode() for name, value in (reader.schema.metadata or {}).items()}
    for note in ("showtell.table_version", "showtell.run_id", "showtell.model"):
        expect(note in notes, f"{path} does not say its {note}")
    rows = table.to_pylist()
    for row in rows:
        check_row(row, path)
        expect(row["status"] != "deleted", f"{row['uri']!r} is deleted, and in {path}")
    keys = [key(row) for row in rows]
    expect(all(a < b for a, b in zip(keys, keys[1:])), f"{path} is not in order")
    # `captions` is the local table: DuckDB finds it by its name.
    database.register("captions", table)
    check_duckdb(database, "captions", rows, path)
    check_polars(pl.scan_ipc(path).collect(), rows, path)

    summaries = [json.loads(path.read_text()) for path in out.glob("runs/*.json")]
    refused = {summary["run_id"] for summary in summaries if summary["outcome"] == "refused"}
    newest = {}
    for row in sorted(part_rows, key=lambda row: row["run_id"]):
        if row["run_id"] <= notes["showtell.run_id"] and row["run_id"] not in refused:
            newest[row["root"], row["uri"]] = row
    current = sorted((row for row in newest.values() if row["status"] != "deleted"), key=key)
    expect(len(rows) == len(current), f"{path} has {len(rows)} rows, the newest of the parts are {len(current)}")
    for row, newest_row in zip(rows, current):
        expect(row == newest_row, f"{path} has {row}, the newest row in the parts is {newest_row}")
    print(f"captions.arrow: {len(rows)} rows, mapped into memory, the newest of each image in the parts")


def check_embeddings(out, database):
    for directory in sorted(path for path in out.glob("embeddings/*") if path.is_dir()):
        files = [str(path) for path in sorted(directory.glob("part-*.parquet"))]
        tables = []
        for file in files:
            part = pq.ParquetFile(file)
            notes = {name.decode(): value.decode() for name, value in part.metadata.metadata.items()}
            expect(notes.get("showtell.encoder_id") == directory.name, f"{file} is of another encoder")
            dims = int(notes["showtell.dims"])
            encodings = part.metadata.row_group(0).column(1).encodings
            expect("BYTE_STREAM_SPLIT" in encodings, f"{file} is encoded as {encodings}")
            table = part.read()
            expect(table.schema.names == ["image_id", "embedding"], f"{file} has {table.schema.names}")
            expect(table.schema.field("embedding").type.value_type == pa.float32(), f"{file} is not of float32")
            for row in table.to_pylist():
                expect(len(row["image_id"]) == 64, f"{file} has the id {row['image_id']!r}")
                expect(len(row["embedding"]) == dims, f"{file} has {len(row['embedding'])} values, not {dims}")
                if notes["showtell.precision"] == "bfloat16":
                    low = struct.pack(f"<{dims}f", *row["embedding"])
                    expect(not any(low[0::4]) and not any(low[1::4]), f"{file} is not rounded to bfloat16")
            tables.append(table)
        if not files:
            continue
        rows = pa.concat_tables(tables).to_pylist()
        read = database.sql(f"SELECT * FROM read_parquet({files!r})").to_arrow_table().to_pylist()
        expect_equal(rows, read, "DuckDB", directory)
        expect_equal(rows, pl.read_parquet(files).to_dicts(), "Polars", directory)
        print(f"embeddings/{directory.name}: {len(rows)} rows in {len(files)} parts, the same to all three")


def check_summaries(out):
    summaries = [json.loads(path.read_text()) for path in sorted(out.glob("runs/*.json"))]
    merged = 0
    for summary in summaries:
        counts, name = summary["counts"], summary["run_id"]
        ends = counts["captioned"] + counts["failed"] + counts["unchanged"]
        expect(counts["found"] == ends, f"the counts of {name} do not add up")
        if summary.get("captioner_id"):
            rows = sum(part["rows"] for part in summary["captions"])
            written = counts["captioned"] + counts["failed"] + counts["deleted"]
            expect(rows == written, f"{name} counts {written} rows, its parts have {rows}")
        for part in summary["captions"] + summary["embeddings"]:
            path = out / part["file"]
            if not path.exists():
                # Merged by compacting; that no current row went with it was seen by now.
                merged += 1
                continue
            expect(path.stat().st_size == part["bytes"], f"{path} has not the size that {name} says")
            expect(pq.ParquetFile(path).metadata.num_rows == part["rows"], f"{path} has not the rows that {name} says")
    print(f"runs: {len(summaries)} summaries, their counts add up, their parts are there or merged ({merged})")


def check(out):
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    part_rows = check_parts(out, database)
    check_snapshot(out, database, part_rows)
    check_embeddings(out, database)
    check_summaries(out)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    check(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
