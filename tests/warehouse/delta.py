"""Publishes nights of a small archive to Delta Lake tables, and reads the tables with other readers.

    python tests/warehouse/delta.py SHOWTELL [SEED]

SHOWTELL is a program built with the feature delta. Over a table in a directory and one in an
S3-compatible server on loopback: publish, publish again, change, delete, caption anew, kill the
command at random moments, publish. Each time deltalake for Python has to read the rows of
captions.arrow; at the end so do Polars, DuckDB and, where it is installed, PySpark. The seed is
printed, and repeats the archive's changes and the moments of the kills. Ends with a status other
than 0 at the first thing that is not so.
"""

import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import boto3
import botocore.exceptions
import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from moto.server import ThreadedMotoServer

REPOSITORY = Path(__file__).resolve().parents[2]
KILLS = 8
KILLS_ON_S3 = 4
# Of guards, which a small archive trips at once.
ACCEPT = ("--accept",)


def expect(holds, what):
    if not holds:
        sys.exit(f"delta.py: {what}")


def by_key(rows, what):
    keyed = {(row["root"], row["uri"]): row for row in rows}
    expect(len(keyed) == len(rows), f"{what} has two rows of one image")
    return keyed


def run_number(run_id):
    """The transaction version that says that a run is published."""
    moment = datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) << 16 | int(run_id[17:], 16)


class Archive:
    """A few of the samples, which change from night to night."""

    def __init__(self, showtell, scratch, dice):
        self.showtell, self.dice = showtell, dice
        self.photos, self.out = scratch / "photos", scratch / "out"
        self.samples = sorted((REPOSITORY / "data/samples").rglob("*.*"))
        self.samples = [path for path in self.samples if path.suffix in (".jpg", ".png", ".webp")]
        expect(len(self.samples) >= 10, "data/samples has less than ten pictures")
        (self.photos / "sub").mkdir(parents=True)
        for number in range(8):
            self.put(f"{number}")
        # Rows that failed are published, too.
        (self.photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")

    def put(self, name):
        sample = self.dice.choice(self.samples)
        path = self.photos / self.dice.choice(["", "sub"]) / f"{name}{sample.suffix}"
        shutil.copyfile(sample, path)

    def pictures(self):
        return sorted(path for path in self.photos.rglob("*.*") if path.name != "broken.jpg")

    def change(self):
        """Something of everything: new, changed, renamed, deleted."""
        pictures = self.pictures()
        new, changed, renamed, gone = self.dice.sample(pictures, 4)
        self.put(f"new-{self.dice.getrandbits(32)}")
        self.put(f"new-{self.dice.getrandbits(32)}")
        changed.write_bytes(self.dice.choice(self.samples).read_bytes() + b"\0")
        renamed.rename(renamed.with_name(f"renamed-{self.dice.getrandbits(32)}{renamed.suffix}"))
        gone.unlink()

    def command(self, *arguments):
        return [str(self.showtell), *map(str, arguments)]

    def annotate(self, *more):
        # The samples are few: deleting some of them is a large share of all.
        command = self.command("annotate", self.photos, "--out", self.out, "--quiet", *more)
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        expect(done.returncode in (0, 1), f"annotate ended with {done.returncode}: {done.stderr}")

    def current(self):
        with pa.memory_map(str(self.out / "captions.arrow")) as file:
            reader = pa.ipc.open_file(file)
            run_id = reader.schema.metadata[b"showtell.run_id"].decode()
            return run_id, by_key(reader.read_all().to_pylist(), "captions.arrow")


class Warehouse:
    """A place for a Delta table, and its readers."""

    def __init__(self, archive, url, environment=None, options=None):
        self.archive, self.url, self.options = archive, url, options
        self.environment = {**os.environ, **(environment or {})}

    def publish(self, *more, exit=0):
        done = subprocess.run(
            self.archive.command("publish", self.archive.out, "--to", f"delta:{self.url}", *more),
            env=self.environment,
            capture_output=True,
            text=True,
        )
        expect(done.returncode == exit, f"publish ended with {done.returncode}: {done.stdout}{done.stderr}")
        expect("panicked" not in done.stderr, done.stderr)
        return done.stdout + done.stderr

    def table(self):
        return DeltaTable(self.url, storage_options=self.options)

    def rows(self, table=None):
        rows = (table or self.table()).to_pyarrow_table().to_pylist()
        return by_key(rows, self.url)

    def check(self, what):
        """That the table is the current view, and says of which run."""
        run_id, expected = self.archive.current()
        table = self.table()
        found = self.rows(table)
        names = [name for row in expected.values() for name in row]
        for key in sorted(expected.keys() | found.keys()):
            ours, theirs = expected.get(key), found.get(key)
            expect(theirs is not None, f"{what}: {key} is not in the table")
            expect(ours is not None, f"{what}: {key} is in the table, and not current")
            theirs = {name: theirs[name] for name in names if name in theirs}
            expect(ours == theirs, f"{what}: {key} is {theirs}, not {ours}")
        last = table.transaction_version("showtell")
        expect(last == run_number(run_id), f"{what}: the transaction is {last}, not that of {run_id}")
        return table.version()


def scenario(archive, warehouse, kills):
    dice, url = archive.dice, warehouse.url
    archive.annotate()
    said = warehouse.publish()
    expect("9 added, 0 changed, 0 deleted" in said, said)
    expect(warehouse.check("the first night") == 0, "the first version is not 0")

    said = warehouse.publish()
    expect("nothing to do" in said, said)
    expect(warehouse.check("the same night again") == 0, "publishing again made a version")
    print(f"{url}: first night published once")

    archive.change()
    archive.annotate()
    warehouse.publish()
    expect(warehouse.check("after changes") == 1, "a night is not one version")

    for path in archive.pictures()[::3]:
        path.unlink()
    archive.annotate(*ACCEPT)
    said = warehouse.publish()
    expect("0 added, 0 changed" in said, said)
    expect(warehouse.check("after deletions") == 2, "a night is not one version")

    archive.put("alone")
    archive.annotate()
    began = time.monotonic()
    warehouse.publish()
    took = time.monotonic() - began
    expect(warehouse.check("after additions") == 3, "a night is not one version")

    # Every caption anew, by two runs of which only the second is published.
    archive.annotate("--beam", "2")
    archive.change()
    archive.annotate("--beam", "5", *ACCEPT)
    with Watch(warehouse) as watch:
        warehouse.publish()
    expect(warehouse.check("all captioned anew") == 4, "two nights are not one version")
    watch.check()
    print(f"{url}: changed, deleted, added, captioned anew; read {watch.reads} times meanwhile")

    killed, version = 0, 4
    for number in range(kills):
        archive.put(f"kill-{number}")
        archive.change()
        archive.annotate(*ACCEPT)
        before, (_, after) = warehouse.rows(), archive.current()
        publishing = subprocess.Popen(
            archive.command("publish", archive.out, "--to", f"delta:{url}"),
            env=warehouse.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(dice.uniform(0, took))
        publishing.kill()
        killed += publishing.wait() < 0
        left = warehouse.rows()
        expect(left in (before, after), f"{url} is half of a run after a kill")
        warehouse.publish()
        found = warehouse.check(f"after kill {number}")
        expect(found == version + 1, f"a night is not one version: {version}, then {found}")
        version = found
    print(f"{url}: killed {killed} of {kills} times, one version a run in the end")


def check_first_kills(archive, url):
    """A table that was never finished is no table, and in nobody's way."""
    archive.annotate()
    warehouse, began = Warehouse(archive, f"{url}-timed"), time.monotonic()
    warehouse.publish()
    took = time.monotonic() - began
    for number in range(KILLS // 2):
        warehouse = Warehouse(archive, f"{url}-{number}")
        command = archive.command("publish", archive.out, "--to", f"delta:{warehouse.url}")
        publishing = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(archive.dice.uniform(0.3, 1.1) * took)
        publishing.kill()
        publishing.wait()
        warehouse.publish()
        expect(warehouse.check("a table killed at its first") == 0, "the first version is not 0")
    print("a first publication that was killed is made again")


class Watch:
    """Reads the table over and over while it is written."""

    def __init__(self, warehouse):
        self.warehouse, self.seen, self.reads = warehouse, [], 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.read)

    def read(self):
        while not self.over.is_set():
            table = self.warehouse.table()
            rows = (table.version(), self.warehouse.rows(table))
            self.reads += 1
            if rows not in self.seen:
                self.seen.append(rows)

    def __enter__(self):
        self.before = self.warehouse.rows()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def check(self):
        whole = (self.before, self.warehouse.rows())
        for version, rows in self.seen:
            expect(rows in whole, f"a reader saw {len(rows)} rows of version {version}, half of a run")


def check_interrupted_run(archive, warehouse):
    """A run that is killed has published nothing; the next one goes on from it."""
    archive.change()
    command = archive.command("annotate", archive.photos, "--out", archive.out, "--quiet")
    annotating = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(archive.dice.uniform(0, 2))
    annotating.kill()
    annotating.wait()
    warehouse.publish()
    warehouse.check("after a killed run")
    archive.annotate(*ACCEPT)
    warehouse.publish()
    warehouse.check("after the run that follows a killed one")
    print("a run that was killed changes nothing, the next one all")


def check_compacted(archive, warehouse):
    """Parts of runs that were not published yet may be merged before they are."""
    archive.change()
    archive.annotate(*ACCEPT)
    archive.change()
    archive.annotate(*ACCEPT)
    command = archive.command("compact", archive.out, "--keep", "0")
    done = subprocess.run(command, capture_output=True, text=True)
    expect(done.returncode == 0, f"compact ended with {done.returncode}: {done.stderr}")
    warehouse.publish()
    warehouse.check("after compacting")
    print("runs whose parts were merged are published all the same")


def check_columns(archive, warehouse):
    """Columns that others add keep their values, and ones that are missing come back."""
    table = warehouse.table()
    table.alter.add_columns([deltalake.Field("reviewed", deltalake.schema.PrimitiveType("boolean"))])
    warehouse.table().update(new_values={"reviewed": True})
    archive.change()
    archive.annotate(*ACCEPT)
    before = warehouse.rows()
    warehouse.publish()
    warehouse.check("with a column of others")
    for key, row in warehouse.rows().items():
        kept = key in before and before[key]["run_id"] == row["run_id"]
        expect(not kept or row["reviewed"] is True, f"{key} has lost what others wrote")
    expect(any(row["reviewed"] for row in warehouse.rows().values()), "nothing was kept")

    old = warehouse.table().to_pyarrow_table().drop_columns(["reviewed", "score", "decoding"])
    write_deltalake(warehouse.url, old, mode="overwrite", schema_mode="overwrite")
    archive.change()
    archive.annotate(*ACCEPT)
    warehouse.publish()
    warehouse.check("after columns were missing")
    names = warehouse.table().to_pyarrow_table().schema.names
    expect({"score", "decoding"} <= set(names), f"columns are missing still: {names}")
    print("columns of others keep their values, missing ones come back")


def check_readers(archive, warehouse):
    run_id, expected = archive.current()
    table = warehouse.table()
    # Polars reads times as Python has them, in UTC.
    polars = by_key(pl.read_delta(warehouse.url).to_dicts(), "Polars")
    expect_equal(polars, expected, "Polars")
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    current = table.to_pyarrow_dataset()
    through_arrow = database.sql("SELECT * FROM current").to_arrow_table().to_pylist()
    expect_equal(by_key(through_arrow, "DuckDB"), expected, "DuckDB through Arrow")
    files = table.file_uris()
    of_files = database.sql(f"SELECT * FROM read_parquet({files!r})").to_arrow_table().to_pylist()
    expect_equal(by_key(of_files, "DuckDB"), expected, "DuckDB from the files that the log lists")
    readers = "deltalake, Polars and DuckDB"
    try:
        from pyspark.sql import SparkSession, functions
    except ImportError:
        print("PySpark is not installed: Spark was not tried")
    else:
        check_spark(SparkSession, functions, files, expected)
        readers += ", and PySpark its files,"
    print(f"{readers} read the same {len(expected)} rows")


def check_spark(sessions, functions, files, expected):
    """Spark reads Delta tables with jars that PyPI has not; here it reads the files of the log."""
    spark = sessions.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = spark.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    rows = spark.read.parquet(*[path.removeprefix("file://") for path in files])
    # As JSON, which keeps all but the times exactly.
    columns = [name for name in rows.columns if not name.endswith("_at")]
    as_json = functions.to_json(functions.struct(*columns), {"ignoreNullFields": "false"})
    found = by_key([json.loads(line) for (line,) in rows.select(as_json).collect()], "Spark")
    expect(found.keys() == expected.keys(), "Spark reads other images")
    for key, row in found.items():
        for name, value in row.items():
            ours = expected[key][name]
            if isinstance(value, float):
                expect(pa.scalar(value, pa.float32()).as_py() == ours, f"Spark reads {name} of {key} as {value}")
            elif name == "beams":
                captions = [(beam["rank"], beam["caption"], beam["tokens"], beam["finished"]) for beam in value]
                ours = [(beam["rank"], beam["caption"], beam["tokens"], beam["finished"]) for beam in ours]
                expect(captions == ours, f"Spark reads the beams of {key} as {value}")
            else:
                expect(value == ours, f"Spark reads {name} of {key} as {value}")
    spark.stop()


def expect_equal(found, expected, reader):
    expect(found.keys() == expected.keys(), f"{reader} reads other images")
    for key, row in expected.items():
        for name in row:
            theirs = found[key][name]
            expect(theirs == row[name], f"{reader} reads {name} of {key} as {theirs!r}, not {row[name]!r}")


def check_refusals(archive, warehouse, scratch):
    expect("is no place for a table" in Warehouse(archive, "gs://a/b").publish(exit=2), "gs://")
    (scratch / "holiday").mkdir()
    (scratch / "holiday/beach.jpg").write_bytes(b"")
    said = Warehouse(archive, str(scratch / "holiday")).publish(exit=2)
    expect("beach.jpg" in said, said)
    said = Warehouse(archive, str(scratch / "holiday/beach.jpg/table")).publish(exit=4)
    expect("beach.jpg" in said, said)

    foreign = Warehouse(archive, str(scratch / "foreign"))
    rows = warehouse.table().to_pyarrow_table().slice(0, 2)
    write_deltalake(foreign.url, rows)
    said = foreign.publish(exit=2)
    expect("--replace" in said, said)
    foreign.publish("--replace")
    foreign.check("after --replace")
    print("places that hold something else are refused by name")


def check_conditional_puts(client, bucket):
    """That the server refuses to replace what is there: commits stand on that."""
    client.put_object(Bucket=bucket, Key="probe", Body=b"first", IfNoneMatch="*")
    try:
        client.put_object(Bucket=bucket, Key="probe", Body=b"second", IfNoneMatch="*")
    except botocore.exceptions.ClientError as error:
        expect(error.response["ResponseMetadata"]["HTTPStatusCode"] == 412, f"the server says {error}")
    else:
        expect(False, "the server knows no conditional puts")


def on_s3(archive):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    client = boto3.client(
        "s3",
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="warehouse")
    check_conditional_puts(client, "warehouse")
    warehouse = Warehouse(archive, "s3://warehouse/captions", settings, settings)
    scenario(archive, warehouse, KILLS_ON_S3)
    server.stop()


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.strip())
    showtell = Path(sys.argv[1]).resolve()
    seed = int(sys.argv[2]) if len(sys.argv) == 3 else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        (scratch / "local").mkdir()
        archive = Archive(showtell, scratch / "local", random.Random(seed))
        warehouse = Warehouse(archive, str(scratch / "table"))
        scenario(archive, warehouse, KILLS)
        check_first_kills(archive, scratch / "killed")
        check_interrupted_run(archive, warehouse)
        check_compacted(archive, warehouse)
        check_columns(archive, warehouse)
        check_readers(archive, warehouse)
        check_refusals(archive, warehouse, scratch)
        (scratch / "s3").mkdir()
        on_s3(Archive(showtell, scratch / "s3", random.Random(seed + 1)))


if __name__ == "__main__":
    main()
