"""Sealing across servers: one leads, others pass the word on, and nobody's death or silence stops it for long."""

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher, audit
from loopwright.store import sql
from loopwright.store.engine import Database
from loopwright.store.news import EVENTS, JOBS
from tests.databases import Postgres
from tests.waiting import wait_until


@pytest.fixture
def first(postgres: Postgres) -> Iterator[Dispatcher]:
    """One server's dispatcher, on an empty database with the project ``flights``."""
    database = Database(postgres.with_tables())
    made = Dispatcher(database)
    made.call("projects.create", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM)
    yield made
    database.close()


@pytest.fixture
def second(first: Dispatcher) -> Iterator[Dispatcher]:
    """Another server's on the same database."""
    database = Database(first.database.url)
    yield Dispatcher(database)
    database.close()


def emit(dispatcher: Dispatcher, name: str = "x") -> None:
    dispatcher.write("flights", LOCAL_ACTOR, lambda tx: tx.emit("things.made", f"flights/thing:{name}"))


def sealed(dispatcher: Dispatcher) -> int:
    """Return how many events have a position, without asking anybody to seal."""
    with dispatcher.database.reading() as connection:
        return sql.read_unrest(connection, "flights").position


def test_events_of_two_servers_get_one_order(first: Dispatcher, second: Dispatcher) -> None:
    def write(at: tuple[Dispatcher, str]) -> None:
        for number in range(15):
            emit(at[0], f"{at[1]}{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [(first, "a"), (second, "b"), (first, "c"), (second, "d")]))
    for dispatcher in (first, second):
        dispatcher.database.seal()
        assert dispatcher.database.read(audit.verify_chain) == 61
    with first.database.reading() as connection:
        refs = [event.ref for event in sql.events_after(connection, 1, limit=1000)]
    for name in "abcd":
        assert [ref for ref in refs if f":{name}" in ref] == [f"flights/thing:{name}{number}" for number in range(15)]


def test_no_verb_waits_for_who_seals(first: Dispatcher) -> None:
    """Another session holds what the leader needs; the advisory lock is the one that sealing used to take."""
    first.database.seal()
    before = sealed(first)
    with first.database.engine.connect() as other:
        other.execute(text("SELECT pg_advisory_lock(65687)"))
        other.execute(text("LOCK TABLE leases IN ACCESS EXCLUSIVE MODE"))
        for _ in range(10):
            emit(first)
        assert sealed(first) == before
        other.rollback()
        other.execute(text("SELECT pg_advisory_unlock_all()"))
        other.commit()
    wait_until(lambda: sealed(first) == before + 10)


def test_a_caller_reads_its_own_events_wherever_it_asks(first: Dispatcher, second: Dispatcher) -> None:
    for number in range(8):
        writer, reader = (first, second) if number % 2 else (second, first)
        emit(writer, f"n{number}")
        newest = reader.call("audit.list", {"limit": 1}, actor=LOCAL_ACTOR, project="flights")
        assert newest[0].ref == f"flights/thing:n{number}"


def test_every_server_hears_what_others_commit(first: Dispatcher, second: Dispatcher) -> None:
    heard: set[str] = set()
    second.database.subscribe(heard.update)

    def tell() -> bool:
        emit(first)
        first.write("flights", LOCAL_ACTOR, lambda tx: tx.start_job("things.make", "flights/thing:x"))
        return {EVENTS, JOBS, "things"} <= heard

    assert wait_until(tell)  # what is told before it listens it does not hear


def test_what_a_killed_server_left_is_sealed_by_another(first: Dispatcher, second: Dispatcher) -> None:
    """No word was given, for its process died between the commit and that."""
    emit(second)
    second.database.seal()
    before = sealed(second)
    with first.database.engine.connect() as connection:
        columns = "project_id, type, ref, actor, event_at, recorded_at, reason, payload"
        values = "'flights', 'things.made', 'flights/thing:x', 'person:ana', 1, 1, '', '{}'"
        connection.execute(text(f"INSERT INTO events ({columns}) VALUES ({values})"))
        connection.commit()
    assert wait_until(lambda: sealed(second) == before + 1)


def is_told(dispatcher: Dispatcher, ref: str) -> bool:
    newest = dispatcher.call("audit.list", {"limit": 1000}, actor=LOCAL_ACTOR, project="flights")
    return any(event.ref == ref for event in newest)


LEADER = """
    import sys, threading, time
    from loopwright.governance import LOCAL_ACTOR, Dispatcher
    from loopwright.store.engine import Database
    dispatcher = Dispatcher(Database(sys.argv[1]))
    def write():
        while True:
            dispatcher.write("flights", LOCAL_ACTOR, lambda tx: tx.emit("things.made", "flights/thing:x"))
            print("wrote", flush=True)
    for _ in range(3):
        threading.Thread(target=write).start()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_dies_or_stands_still_is_followed_by_another(first: Dispatcher, how: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LEADER), first.database.url], stdout=subprocess.PIPE, text=True
    ) as leader:
        assert leader.stdout is not None
        try:
            for _ in range(60):
                leader.stdout.readline()
            leader.send_signal(how)
            emit(first, "after")
            wait_until(lambda: is_told(first, "flights/thing:after"))
        finally:
            leader.kill()
    first.database.seal()
    assert first.database.read(audit.verify_chain) > 60


def test_more_than_one_batch_is_sealed(first: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopwright.store.sealer.MOST_SEALED", 7)

    def emit_many(tx: Any) -> None:
        for number in range(40):
            tx.emit("things.made", f"flights/thing:{number}")

    first.write("flights", LOCAL_ACTOR, emit_many)
    first.database.seal()
    assert first.database.read(audit.verify_chain) == 41


def test_a_database_closes_while_others_write_to_it(first: Dispatcher, second: Dispatcher) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            emit(first)

    thread = threading.Thread(target=write)
    thread.start()
    emit(second)
    second.database.close()
    second.database.close()  # twice is once
    stop.set()
    thread.join(10)
    first.database.seal()
    assert first.database.read(audit.verify_chain) > 1
