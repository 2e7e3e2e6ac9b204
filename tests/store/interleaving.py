"""Two calls at once, statement by statement, in an order that a test chooses.

On PostgreSQL each call runs in a thread of its own, which stops before each of its statements and before its commit
until the scheduler lets it go on. On SQLite there is one writer, so that calls cannot meet: they are only made at once.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import event, text

from loopwright.kernel.errors import LoopwrightError
from loopwright.store.engine import Database
from tests.waiting import PATIENCE_S

Call = Callable[[], Any]
_acting = threading.local()


@dataclass
class Party:
    """One of two calls: where it stands, and how it ended."""

    call: Call
    result: Any = None
    error: Exception | None = None
    statements: list[str] = field(default_factory=list)
    is_paused: bool = False
    is_ended: bool = False
    is_free: bool = False
    grants: int = 0
    backend: int | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def run(self) -> None:
        """Make the call, stopping before each statement."""
        _acting.party = self
        try:
            self.result = self.call()
        except Exception as error:  # noqa: BLE001 - a test looks at it
            self.error = error
        with self.changed:
            self.is_ended = True
            self.changed.notify_all()

    def pause(self, statement: str, backend: int) -> None:
        """Stop before a statement until the scheduler lets it through."""
        with self.changed:
            self.statements.append(statement)
            self.backend, self.is_paused = backend, True
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.grants or self.is_free, PATIENCE_S)
            self.grants -= 0 if self.is_free else 1
            self.is_paused = False

    def grant(self) -> None:
        """Let one statement through."""
        with self.changed:
            self.grants += 1
            self.is_paused = False
            self.changed.notify_all()

    def set_free(self) -> None:
        """Let it run to its end."""
        with self.changed:
            self.is_free, self.is_paused = True, False
            self.changed.notify_all()


class _PausingCursor(psycopg.Cursor[Any]):
    """A cursor whose statements wait for their turn in threads that take part."""

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        _pause(str(query), self.connection)
        return super().execute(query, *args, **kwargs)

    def executemany(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        _pause(str(query), self.connection)
        return super().executemany(query, *args, **kwargs)


def _pause(statement: str, connection: Any) -> None:
    party: Party | None = getattr(_acting, "party", None)
    if party is not None:
        party.pause(statement, connection.info.backend_pid)


@dataclass(frozen=True)
class Played:
    """How two calls at once ended: results, where one failed its error, and whether the first was interrupted."""

    results: tuple[Any, Any]
    errors: tuple[Exception | None, Exception | None]
    was_interrupted: bool
    statements: list[str]

    def one_refusal(self) -> LoopwrightError:
        """Return the error of the one call that was refused, in our own words; the other went through."""
        (refusal,) = [error for error in self.errors if error is not None]
        assert isinstance(refusal, LoopwrightError), refusal
        return refusal

    def both(self) -> tuple[Any, Any]:
        """Return the results of both calls, which went through."""
        assert self.errors == (None, None), self.errors
        return self.results


def interruptions(
    database: Database, first: Callable[[int], Any], second: Callable[[int], Any], most: int = 100
) -> Iterator[Played]:
    """Play two calls so that the second runs whole after 0, 1, 2... statements of the first, until there are no more.

    Each is told the number of the round, to work on objects that no other round has touched.
    """
    if database.is_sqlite:
        yield at_once(lambda: first(0), lambda: second(0))
        return
    with pausing(database):
        for number in range(most):
            played = play_interrupted(database, lambda n=number: first(n), lambda n=number: second(n), number)
            yield played
            if not played.was_interrupted:
                return
    raise AssertionError(f"more than {most} statements")


def interrupt(database: Database, first: Call, second: Call, after: int) -> Played:
    """Play two calls on PostgreSQL: ``after`` statements of the first, the second whole, the rest of the first."""
    with pausing(database):
        return play_interrupted(database, first, second, after)


def at_once(first: Call, second: Call) -> Played:
    """Make two calls in threads that nobody stops."""
    parties = (Party(first, is_free=True), Party(second, is_free=True))
    threads = [threading.Thread(target=party.run) for party in parties]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return Played((parties[0].result, parties[1].result), (parties[0].error, parties[1].error), False, [])


def play_interrupted(database: Database, first: Call, second: Call, after: int) -> Played:
    """Play ``after`` statements of the first call, the second whole and the rest of the first, while ``pausing``."""
    one, other = Party(first), Party(second)
    threads = [threading.Thread(target=party.run) for party in (one, other)]
    threads[0].start()
    for _ in range(after):
        _await_rest(database, one)
        if not one.is_ended:
            one.grant()
    _await_rest(database, one)
    was_interrupted = not one.is_ended
    seen = list(one.statements)
    threads[1].start()
    other.set_free()
    _await_rest(database, other)  # or it waits for a row that the first holds
    one.set_free()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a call never ended"
    return Played((one.result, other.result), (one.error, other.error), was_interrupted, seen)


def _await_rest(database: Database, party: Party) -> None:
    """Return once a call waits for its turn, has ended, or waits for a lock that another holds."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with party.changed:
            is_at_rest = party.changed.wait_for(lambda: party.is_paused or party.is_ended, 0.02)
        if is_at_rest or (party.backend is not None and _is_blocked(database, party.backend)):
            return
    raise AssertionError(f"a statement took too long: {party.statements[-1:]}")


def _is_blocked(database: Database, backend: int) -> bool:
    statement = text("SELECT wait_event_type FROM pg_stat_activity WHERE pid = :backend")
    with database.reading() as connection:
        return connection.execute(statement, {"backend": backend}).scalar() == "Lock"


@contextmanager
def pausing(database: Database) -> Iterator[None]:
    """Have the writing sessions of a database stop where calls that take part would go on."""

    def prepare(connection: Any, _record: Any) -> None:
        connection.cursor_factory = _PausingCursor

    def commit(connection: Any) -> None:
        driver = connection.connection.driver_connection
        _pause("COMMIT", driver)

    database.engine.dispose()  # connections made before would not stop
    event.listen(database.engine, "connect", prepare)
    event.listen(database.engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(database.engine, "connect", prepare)
        event.remove(database.engine, "commit", commit)
        database.engine.dispose()
