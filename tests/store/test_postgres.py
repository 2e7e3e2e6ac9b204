"""PostgreSQL under races, stuck sessions and lost connections: every call ends, and what it says is so."""

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, exc, text

from loopwright.kernel.errors import Conflict, Unavailable
from loopwright.store import postgres as sessions
from loopwright.store.engine import Connection, Database
from tests.databases import Postgres
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    opened = Database(postgres.with_tables())
    yield opened
    opened.close()


@pytest.fixture
def impatient(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The same, by sessions that wait for others for half a second and for a statement for one."""
    monkeypatch.setattr(sessions, "LOCK_S", 0.5)
    monkeypatch.setattr(sessions, "READ_S", 1.0)
    opened = Database(database.url)
    yield opened
    opened.close()


def put(name: str, position: int = 1) -> Callable[[Connection], str]:
    """Insert one row, whose key may be taken only once."""

    def work(connection: Connection) -> str:
        connection.execute(text("INSERT INTO cursors VALUES (:name, :position)"), {"name": name, "position": position})
        return name

    return work


def move(name: str) -> Callable[[Connection], int]:
    """Change one row."""
    statement = text("UPDATE cursors SET position = position + 1 WHERE reader = :name")
    return lambda connection: connection.execute(statement, {"name": name}).rowcount


def total(connection: Connection) -> int:
    return int(connection.execute(text("SELECT coalesce(sum(position), 0) FROM cursors")).scalar_one())


def positions(database: Database) -> dict[str, int]:
    rows = text("SELECT reader, position FROM cursors")
    return database.read(lambda connection: {row.reader: row.position for row in connection.execute(rows)})


def lost_a_race() -> exc.OperationalError:
    lost = sqlite3.Error("deadlock")
    lost.sqlstate = "40P01"  # type: ignore[attr-defined]
    return exc.OperationalError("x", {}, lost)


def test_a_lost_race_is_run_again(database: Database) -> None:
    tries: list[int] = []

    def race(_connection: Connection) -> str:
        tries.append(1)
        if len(tries) < 6:
            raise lost_a_race()
        return "won"

    assert database.write(race) == "won"
    assert len(tries) == 6


def test_who_never_wins_is_told_to_come_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_LONGEST_PAUSE_S", 0.001)

    def race(_connection: Connection) -> None:
        raise lost_a_race()

    with pytest.raises(Unavailable, match="nothing was written") as told:
        database.write(race)
    assert told.value.next_step == "repeat the call"


def test_what_was_read_holds_until_the_commit(database: Database) -> None:
    """Eight callers add one where the sum is below ten: under READ COMMITTED several pass at nine."""
    database.write(put("start", 9))
    together = threading.Barrier(8, timeout=PATIENCE_S)

    def add_below_ten(number: int) -> bool:
        tries: list[int] = []

        def work(connection: Connection) -> bool:
            seen = total(connection)
            if not tries:
                tries.append(1)
                together.wait()  # all have read before any writes
            if seen < 10:
                put(f"r{number}")(connection)
            return seen < 10

        return database.write(work)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add_below_ten, range(8))) == 1
    assert sum(positions(database).values()) == 10


def test_numbers_that_follow_the_last_one_are_given_out_once(database: Database) -> None:
    together = threading.Barrier(6, timeout=PATIENCE_S)

    def take_next(_number: int) -> int:
        tries: list[int] = []

        def work(connection: Connection) -> int:
            number = total(connection)
            if not tries:
                tries.append(1)
                together.wait()
            put(f"number {number}")(connection)
            return number

        return database.write(work)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(take_next, range(6))) == list(range(6))


def test_a_key_that_stays_taken_is_a_conflict(database: Database) -> None:
    tries: list[int] = []

    def insert_again(connection: Connection) -> None:
        tries.append(1)
        put("taken")(connection)

    database.write(put("taken"))
    with pytest.raises(Conflict, match="already exists"):
        database.write(insert_again)
    assert len(tries) == sessions.TRIES_TO_BE_FIRST


def test_a_session_that_is_stuck_stops_only_who_needs_its_rows(database: Database, impatient: Database) -> None:
    database.write(put("held"))
    database.write(put("free"))
    with database.engine.connect() as stuck:  # a person's session, say, that was left open
        move("held")(stuck)
        with ThreadPoolExecutor(2) as pool:
            refused = pool.submit(impatient.write, move("held"))
            for _ in range(20):
                assert impatient.write(move("free")) == 1
            assert positions(database)["free"] == 21
            with pytest.raises(Unavailable, match="another session") as told:
                refused.result()
        assert "pg_stat_activity" in str(told.value.next_step)
        assert impatient.doubt is not None
        assert not impatient.doubt.is_of_all
        stuck.rollback()
    assert database.write(move("held")) == 1


FROZEN = """
    import os, signal, sys
    from sqlalchemy import text
    from loopwright.store import postgres as sessions
    from loopwright.store.engine import Database
    sessions.IDLE_WRITE_S = 1.0
    def work(connection):
        connection.execute(text("UPDATE cursors SET position = 7 WHERE reader = 'held'"))
        print("holds", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    Database(sys.argv[1]).write(work)
"""


@pytest.fixture
def frozen(database: Database) -> Iterator[None]:
    """A process that stands still in a transaction, in which it has changed the row ``held``."""
    database.write(put("held"))
    command = [sys.executable, "-c", textwrap.dedent(FROZEN), database.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield
        process.kill()
    assert said == "holds\n"


@pytest.mark.usefixtures("frozen")
def test_a_process_that_stands_still_in_a_transaction_loses_what_it_holds(database: Database) -> None:
    def is_moved() -> bool:
        with contextlib.suppress(Unavailable):
            return database.write(move("held")) == 1
        return False

    wait_until(is_moved)
    assert positions(database) == {"held": 2}


def test_a_query_ends_at_its_deadline_unless_an_operator_waits_for_it(impatient: Database) -> None:
    sleep = text("SELECT pg_sleep(1.5)")
    with pytest.raises(Unavailable, match="took too long") as told:
        impatient.read(lambda connection: connection.execute(sleep))
    assert "ask for less" in str(told.value.next_step)
    with impatient.reading(without_deadline=True) as connection:
        connection.execute(sleep)


def end_sessions(database: Database) -> None:
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    with database.engine.connect() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))


def test_connections_that_broke_in_the_pool_are_replaced(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.write(put("a"))
    positions(database)
    killer = Database(database.url)
    end_sessions(killer)
    assert database.write(put("b")) == "b"  # used a moment ago, so nobody tried it before: the work runs again
    monkeypatch.setattr(sessions, "RESTED_S", 0.0)
    assert positions(database) == {"a": 1, "b": 1}
    killer.close()


def test_a_commit_that_was_never_answered_says_so(database: Database) -> None:
    killer = Database(database.url)

    def cut(_connection: Connection) -> None:
        end_sessions(killer)

    event.listen(database.engine, "commit", cut, once=True)
    with pytest.raises(Unavailable, match="whole, or not at all") as told:
        database.write(put("a"))
    assert "Idempotency-Key" in str(told.value.next_step)
    assert database.write(put("a")) == "a"
    killer.close()
