"""The table in DuckDB: over its files, and loaded into a database."""

import contextlib

import duckdb

from read import check_duckdb


class OverFiles:
    """Reads the files where they are."""

    name = "DuckDB over files"
    file = "duckdb/files.sql"
    stems = False

    def __init__(self, sql, scratch):
        self.sql = sql
        self.database = self.connect(scratch)

    def connect(self, _scratch):
        return duckdb.connect()

    def load(self, out):
        # Relative paths, as its SQL has them, are below OUT.
        self.database.execute("SET TimeZone = 'America/St_Johns'")
        self.database.execute("SET file_search_path = ?", [str(out)])
        with contextlib.chdir(out):
            self.database.execute((self.sql / self.file).read_text())

    def define(self):
        for file in ("current.sql", "duckdb/search.sql"):
            self.database.execute((self.sql / file).read_text())

    def rows(self, relation):
        return self.database.sql(f"SELECT * FROM {relation}").to_arrow_table().to_pylist()

    def check_types(self):
        check_duckdb(self.database, "captions", self.rows("captions"), self.name)

    def answer(self, sql):
        return self.database.execute(sql).fetchall()

    def search(self, words):
        return self.database.execute("SELECT * FROM search_captions(?)", [words]).fetchall()

    def close(self):
        self.database.close()


class Loaded(OverFiles):
    """Copies what is new into a database of its own."""

    name = "DuckDB"
    file = "duckdb/load.sql"

    def connect(self, scratch):
        return duckdb.connect(scratch / "warehouse.duckdb")
