"""The table in Spark, as a session on this machine reads it."""

import os

import pyspark.sql.types as spark
from pyspark.sql import SparkSession

from read import expect

TYPES = {
    "bytes": spark.LongType(),
    "modified_at": spark.TimestampType(),
    "width": spark.IntegerType(),
    "score": spark.FloatType(),
    "annotated_at": spark.TimestampType(),
}
BEAM = {
    "rank": spark.IntegerType(),
    "caption": spark.StringType(),
    "log_prob": spark.FloatType(),
    "tokens": spark.IntegerType(),
    "score": spark.FloatType(),
    "finished": spark.BooleanType(),
}


class Spark:
    name = "Spark"

    def __init__(self, scratch):
        # A row's timestamps come to Python in this process's zone.
        os.environ["TZ"] = "UTC"
        settings = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.session.timeZone": "Asia/Kathmandu",
            "spark.sql.warehouse.dir": str(scratch / "spark"),
            "spark.local.dir": str(scratch),
            "spark.log.level": "ERROR",
        }
        builder = SparkSession.builder.master("local[1]").appName("showtell")
        self.session = builder.config(map=settings).getOrCreate()

    def read(self, out):
        # Spark takes `run=...` for a column of its own.
        return self.session.read.parquet(str(out / "captions")).drop("run")

    def rows(self, out):
        return [row.asDict(recursive=True) for row in self.read(out).collect()]

    def check_types(self, out):
        types = {field.name: field.dataType for field in self.read(out).schema}
        for name, expected in TYPES.items():
            expect(types[name] == expected, f"Spark has {name} as {types[name]}")
        beam = {field.name: field.dataType for field in types["beams"].elementType}
        expect(beam == BEAM, f"Spark has a beam as {beam}")

    def close(self):
        self.session.stop()
