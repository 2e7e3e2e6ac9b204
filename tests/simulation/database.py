"""A SQLite file with faults: a process dies before or after a commit, a statement fails, a commit takes its time.

Several servers may write one file, as they do on PostgreSQL: whoever begins to write waits until the one before is
through, and its strand lets the others go on meanwhile.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from tests.simulation.scheduler import Life, Simulation

_FULL, _LOCKED, _BROKEN = "database or disk is full", "database is locked", "disk I/O error"
_UNHARMED = ("SAVEPOINT", "RELEASE", "ROLLBACK", "PRAGMA", "BEGIN", "SELECT")


class Faults:
    """What befalls the connections to the files of one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.writers: dict[str, FaultyConnection] = {}
        """Who writes each file now."""

    def connect(self, file: str, arguments: dict[str, Any]) -> "FaultyConnection":
        """Open a connection for the life that asks; it ends with that life."""
        connection = sqlite3.connect(file, **{**arguments, "factory": FaultyConnection})
        connection.faults, connection.file = self, str(Path(file).resolve())
        current = self.simulation.current
        if current is not None:
            connection.life = current.life
            current.life.on_death.append(connection.end)
        return connection


class FaultyCursor(sqlite3.Cursor):
    def execute(self, statement: str, values: Any = (), /) -> "FaultyCursor":
        self.connection.before(statement)
        return super().execute(statement, values)

    def executemany(self, statement: str, values: Any, /) -> "FaultyCursor":
        self.connection.before(statement)
        return super().executemany(statement, values)


class FaultyConnection(sqlite3.Connection):
    faults: Faults
    file = ""
    life: Life | None = None

    def cursor(self, *_: Any) -> FaultyCursor:  # type: ignore[override]
        return super().cursor(FaultyCursor)

    @property
    def is_writing(self) -> bool:
        return self.faults.writers.get(self.file) is self

    def before(self, statement: str) -> None:
        """Let come what may before a statement runs."""
        simulation = self.faults.simulation
        if simulation.current is None:
            return
        if statement.startswith("ROLLBACK"):
            return
        simulation.check_alive()
        if statement.startswith("PRAGMA synchronous"):
            return
        if statement.startswith("BEGIN IMMEDIATE"):
            if self.file in self.faults.writers:
                simulation.wait(None, lambda: self.file not in self.faults.writers)
            self.faults.writers[self.file] = self
        elif self.is_writing and not statement.startswith(_UNHARMED):
            self._fail("database.statement", _LOCKED)
            if simulation.draws("crash.statement"):
                simulation.crash(f"at {statement.split('(')[0].split(' SET ')[0].strip()[:40]}")
            simulation.pause() if simulation.draws("database.pause") else None

    def _fail(self, kind: str, message: str) -> None:
        simulation = self.faults.simulation
        if simulation.draws(kind):
            simulation.note(f"the database fails: {message}")
            if message != _LOCKED:
                super().rollback()  # as SQLite does by itself
            raise sqlite3.OperationalError(message)

    def commit(self) -> None:
        simulation = self.faults.simulation
        if not self.is_writing or simulation.current is None:
            super().commit()
            return
        simulation.check_alive()
        if simulation.draws("crash.before_commit"):
            simulation.crash("before a commit")
        self._fail("database.full", _FULL)
        self._fail("database.commit", _BROKEN)
        if simulation.draws("database.slow"):
            pause_s = simulation.chance.choice((0.5, 3.0, 12.0, 40.0))
            simulation.note(f"a commit takes {pause_s} s")
            simulation.wait(pause_s)
        super().commit()
        self._let_go()
        if simulation.draws("crash.after_commit"):
            simulation.crash("after a commit")
        simulation.pause()

    def rollback(self) -> None:
        super().rollback()
        self._let_go()

    def close(self) -> None:
        self._let_go()
        super().close()

    def end(self) -> None:
        """Close what a dead process left open; what it had not committed is gone."""
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        if self.is_writing:
            del self.faults.writers[self.file]


@contextmanager
def faulty_databases(faults: Faults) -> Iterator[None]:
    """Have every engine that is made meanwhile open faulty connections."""

    def connect(_dialect: Any, _record: Any, arguments: Any, options: dict[str, Any]) -> FaultyConnection:
        return faults.connect(arguments[0], options)

    event.listen(Engine, "do_connect", connect)
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", connect)
