"""The table in ClickHouse, which runs inside this process as chdb."""

import contextlib
import io

import pyarrow as pa
import pyarrow.ipc
from chdb.session import Session

from read import SCHEMA, expect

TYPES = {
    "bytes": "Int64",
    "modified_at": "DateTime64(6, 'UTC')",
    "width": "Nullable(Int32)",
    "score": "Nullable(Float32)",
    "beams": "Array(Tuple(rank Int32, caption String, log_prob Float32, tokens Int32, score Float32, "
    "finished Bool))",
    "annotated_at": "DateTime64(6, 'UTC')",
}


class ClickHouse:
    name = "ClickHouse"
    stems = False

    def __init__(self, sql, scratch):
        self.sql = sql
        self.session = Session(str(scratch / "clickhouse"))

    def load(self, out):
        # Relative paths, as its SQL has them, are below OUT.
        with contextlib.chdir(out):
            self.run("clickhouse/load.sql")

    def define(self):
        self.run("current.sql")
        self.run("clickhouse/search.sql")

    def run(self, file):
        self.session.query((self.sql / file).read_text())

    def table(self, query):
        """What ClickHouse gives to a reader of Arrow."""
        settings = "SETTINGS output_format_arrow_string_as_string = 1, session_timezone = 'Asia/Kathmandu'"
        answer = self.session.query(f"{query.strip().rstrip(';')} {settings}", "Arrow")
        return pa.ipc.open_file(io.BytesIO(answer.bytes())).read_all()

    def rows(self, relation):
        # FINAL: a row that was loaded twice is one.
        final = "FINAL" if relation == "captions" else ""
        return self.table(f"SELECT * FROM {relation} {final}").to_pylist()

    def check_types(self):
        described = self.table("SELECT name, type FROM system.columns WHERE table = 'captions'").to_pylist()
        types = {column["name"]: column["type"] for column in described}
        expect(list(types) == SCHEMA.names, f"ClickHouse has columns {list(types)}")
        for name, expected in TYPES.items():
            expect(types[name] == expected, f"ClickHouse has {name} as {types[name]}")

    def answer(self, sql):
        return [tuple(row.values()) for row in self.table(sql).to_pylist()]

    def search(self, words):
        quoted = words.replace("\\", "\\\\").replace("'", "\\'")
        return self.answer(f"SELECT * FROM search_captions(words = '{quoted}')")

    def close(self):
        self.session.close()
