"""Reads a table that several nights made with the engines of data warehouses, and sees that all of
them read what pyarrow, Polars and DuckDB read; and that the SQL in pipelines/sql answers what it says.

    python tests/readers/warehouses.py SHOWTELL SCRATCH

Makes the table by the program at SHOWTELL below SCRATCH, which it empties. Rows are compared value by
value: floats and times by their bits, nulls, nested beams, text by its characters. The engines that
load are loaded night by night, each time twice. Ends with a status other than 0 at the first thing
that is not so. An engine that is not there is named, and does not fail the test.
"""

import contextlib
import shutil
import struct
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow.parquet as pq

import questions
import read
from nights import make_nights
from read import SCHEMA, expect, expect_equal, key

SQL = Path(__file__).parents[2] / "pipelines" / "sql"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def exact(value):
    """`value` in a form in which equal means the same bits."""
    if isinstance(value, float):
        # All of the table's are 32 bits wide; some engines hand them over as decimals that round to them.
        return struct.pack("<f", value)
    if isinstance(value, datetime):
        # What has no zone is in UTC: the only engine that gives such is told to.
        moment = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return (moment - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, dict):
        return {name: exact(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(exact(inner) for inner in value)
    return value


def in_order(rows):
    """With columns in the table's order, whatever an engine makes of the order of either."""
    rows = [{name: exact(row[name]) for name in SCHEMA.names} for row in rows]
    return sorted(rows, key=lambda row: (row["run_id"], key(row)))


def rows_of(out):
    rows = []
    for path in sorted(out.glob("captions/run=*/part-*.parquet")):
        rows.extend(pq.ParquetFile(path).read().to_pylist())
    return rows


def as_of(out, night, copy):
    """`out` as it was after its run number `night`, while the next one is under way: its parts are
    there, and it has no summary yet."""
    runs = sorted(path.stem for path in out.glob("runs/*.json"))
    shutil.rmtree(copy, ignore_errors=True)
    (copy / "runs").mkdir(parents=True)
    (copy / "captions").mkdir()
    for run in runs[: night + 1]:
        shutil.copy(out / "runs" / f"{run}.json", copy / "runs")
    for run in runs[: night + 2]:
        if (out / "captions" / f"run={run}").exists():
            shutil.copytree(out / "captions" / f"run={run}", copy / "captions" / f"run={run}")
    return copy, runs[night]


def check_night(engine, out, over):
    """`over`: the last run that has ended."""
    rows = [row for row in rows_of(out) if row["run_id"] <= over]
    what = f"the table after {over}"
    expect_equal(in_order(rows), in_order(engine.rows("captions")), engine.name, what)
    current = questions.current(rows)
    expect_equal(in_order(current), in_order(engine.rows("current_captions")), engine.name, f"{what}, what is current")
    for question in (questions.last_night, questions.failures):
        answers = engine.answer((SQL / f"{question.__name__}.sql").read_text())
        expected = question(rows)
        expect(len(answers) == len(expected), f"{engine.name} answers {question.__name__} with {len(answers)} rows")
        for answer in answers:
            expect(answer in expected, f"{engine.name} answers {question.__name__} of {what} with {answer}")
    return rows


def as_written(word):
    return {word}


def in_any_number(word):
    """Trees for tree, tree for trees: all the forms that words have in these captions."""
    return {word, word + "s", word.removesuffix("s")}


def check_search(engine, rows):
    forms = in_any_number if engine.stems else as_written
    words = sorted(set().union(*(questions.words_of(row["caption"] or "") for row in rows)))
    if engine.stems:
        words = [word for word in words if not engine.is_too_common(word)]
    searches = words + [f"{one.upper()}, {other}!" for one, other in zip(words, words[1:])] + ["absent"]
    found = 0
    for search in searches:
        expected = questions.search(rows, search, forms)
        answers = engine.search(search)
        found_rows = {exact(tuple(answer)) for answer in answers}
        expected = {exact(answer) for answer in expected}
        expect(found_rows == expected, f"{engine.name} finds {answers} by {search!r}, not {expected}")
        if not engine.stems:
            scores = [score for *_, score in answers]
            expect(scores == sorted(scores, reverse=True), f"{engine.name} does not put the best first")
        found += len(answers)
    expect(found > 0, "no search finds anything")
    return len(searches)


def check_warehouse(make, out, scratch):
    began = time.monotonic()
    scratch.mkdir()
    nights = len(list(out.glob("runs/*.json")))
    with contextlib.closing(make(SQL, scratch)) as engine:
        for night in range(nights):
            now, over = as_of(out, night, scratch / "out")
            # Twice, as after a load that broke off: the second time changes nothing.
            for _ in range(2):
                engine.load(now)
                engine.define()
                rows = check_night(engine, now, over)
        engine.check_types()
        searches = check_search(engine, rows)
    seconds = time.monotonic() - began
    print(f"{engine.name}: {len(rows)} rows of {nights} nights, {searches} searches, in {seconds:.0f} s")


def check_spark(make, out, scratch):
    began = time.monotonic()
    with contextlib.closing(make(scratch)) as engine:
        rows = rows_of(out)
        expect_equal(in_order(rows), in_order(engine.rows(out)), engine.name, "the table")
        engine.check_types(out)
    print(f"{engine.name}: {len(rows)} rows, in {time.monotonic() - began:.0f} s")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    showtell, scratch = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    shutil.rmtree(scratch, ignore_errors=True)
    out = scratch / "out"
    scratch.mkdir(parents=True)
    make_nights(showtell, out, scratch / "archive")
    read.check(out)

    missing = []
    import in_duckdb

    check_warehouse(in_duckdb.OverFiles, out, scratch / "duckdb-files")
    check_warehouse(in_duckdb.Loaded, out, scratch / "duckdb")
    import in_postgresql

    if in_postgresql.programs() is None:
        in_postgresql.install()
    if in_postgresql.programs() is None:
        missing.append("PostgreSQL (its initdb is nowhere, and apt-get did not bring it)")
    else:
        check_warehouse(in_postgresql.PostgreSql, out, scratch / "postgresql")
    import in_clickhouse

    check_warehouse(in_clickhouse.ClickHouse, out, scratch / "clickhouse")
    if shutil.which("java") is None:
        missing.append("Spark (there is no java; it needs Java 17 or newer)")
    else:
        import in_spark

        check_spark(in_spark.Spark, out, scratch)
    for engine in missing:
        print(f"NOT READ by {engine}", file=sys.stderr)


if __name__ == "__main__":
    main()
