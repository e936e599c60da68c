"""The table in PostgreSQL, on a server that is started for it: on a socket in a scratch directory, by
a user without privileges, since PostgreSQL refuses to be run by root."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg.types.composite import CompositeInfo, register_composite

from read import SCHEMA, expect

PIPELINES = Path(__file__).parents[2] / "pipelines"
sys.path.insert(0, str(PIPELINES))
from load_postgresql import load as load_new_rows  # noqa: E402, where its users find it

TYPES = {
    "bytes": "bigint",
    "modified_at": "timestamp with time zone",
    "width": "integer",
    "score": "real",
    "beams": "beam[]",
    "annotated_at": "timestamp with time zone",
}
UNPRIVILEGED = ("postgres", "nobody")
START_SECONDS = 60


def programs():
    """The directory of PostgreSQL's programs, `None` if there are none."""
    on_path = shutil.which("initdb")
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted(installed, key=lambda path: int(path.parts[-3])) + [Path(p) for p in [on_path] if p]
    return found[-1].resolve().parent if found else None


def install():
    """Installs PostgreSQL where that takes one command, and says so."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print("PostgreSQL is not installed: installing Debian's", file=sys.stderr)
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "postgresql"]):
        subprocess.run(["apt-get", "-qq", *command], env=quiet, stdout=subprocess.DEVNULL, check=False)


class Server:
    """A server that nobody else can reach."""

    def __init__(self, bin):
        # Where everybody may look: below the home of whoever runs this, the server's user may not.
        self.scratch = tempfile.TemporaryDirectory(prefix="showtell-postgresql-")
        self.directory = directory = Path(self.scratch.name)
        self.user = {}
        if os.geteuid() == 0:
            account = next(pwd.getpwnam(name) for name in UNPRIVILEGED if has_account(name))
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(directory, account.pw_uid, account.pw_gid)
        data = directory / "data"
        options = ["--auth=trust", "--username=showtell", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self.call(bin / "initdb", *options, "--pgdata", data)
        settings = ["listen_addresses=", "fsync=off", "timezone=Asia/Kathmandu", f"unix_socket_directories={directory}"]
        self.log = open(directory / "log", "wb")
        self.process = subprocess.Popen(
            [bin / "postgres", "-D", data, *(word for setting in settings for word in ("-c", setting))],
            cwd=directory,
            stdout=self.log,
            stderr=self.log,
            **self.user,
        )

    def call(self, *command):
        ended = subprocess.run(command, cwd=self.directory, capture_output=True, check=False, **self.user)
        expect(ended.returncode == 0, f"{command[0]}: {ended.stderr.decode(errors='replace')}")

    def connect(self):
        address = f"host={self.directory} user=showtell dbname=postgres"
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return psycopg.connect(address, autocommit=True)
            except psycopg.OperationalError as error:
                alive = self.process.poll() is None and time.monotonic() < end
                expect(alive, f"PostgreSQL does not start: {error}\n{(self.directory / 'log').read_text()}")
                time.sleep(0.1)

    def close(self):
        # A fast shutdown, in PostgreSQL's words: it waits for nobody.
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=START_SECONDS)
        self.log.close()
        self.scratch.cleanup()


def has_account(name):
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


class PostgreSql:
    name = "PostgreSQL"
    # house finds houses.
    stems = True

    def __init__(self, sql, _scratch):
        self.sql = sql
        self.server = Server(programs())
        try:
            self.connection = self.server.connect()
        except BaseException:
            self.server.close()
            raise

    def load(self, out):
        self.run("postgresql/table.sql")
        load_new_rows(out, self.connection)

    def define(self):
        self.run("current.sql")
        self.run("postgresql/search.sql")

    def run(self, file):
        self.connection.execute((self.sql / file).read_text())

    def rows(self, relation):
        register_composite(CompositeInfo.fetch(self.connection, "beam"), self.connection)
        cursor = self.connection.execute(f"SELECT * FROM {relation}")
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row)) for row in cursor]
        for row in rows:
            row["beams"] = [beam._asdict() for beam in row["beams"]]
        return rows

    def check_types(self):
        query = (
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'captions'::regclass AND attnum > 0 ORDER BY attnum"
        )
        types = dict(self.connection.execute(query).fetchall())
        expect(list(types) == SCHEMA.names, f"PostgreSQL has columns {list(types)}")
        for name, expected in TYPES.items():
            expect(types[name] == expected, f"PostgreSQL has {name} as {types[name]}")
        # Search has to go by its index, once there is enough to be searched.
        self.connection.execute("SET enable_seqscan = off")
        condition = "to_tsvector('english', caption) @@ websearch_to_tsquery('english', 'red')"
        plan = self.connection.execute(f"EXPLAIN SELECT uri FROM captions WHERE {condition}").fetchall()
        self.connection.execute("SET enable_seqscan = on")
        expect(re.search("captions_words", str(plan)), f"PostgreSQL searches without its index: {plan}")

    def answer(self, sql):
        return self.connection.execute(sql).fetchall()

    def is_too_common(self, word):
        """Whether English full text search leaves it out."""
        [nodes] = self.connection.execute("SELECT numnode(plainto_tsquery('english', %s))", [word]).fetchone()
        return nodes == 0

    def search(self, words):
        return self.connection.execute("SELECT * FROM search_captions(%s)", [words]).fetchall()

    def close(self):
        self.connection.close()
        self.server.close()
