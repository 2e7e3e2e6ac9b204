"""What one server at a time does, it alone does: also while it waits, and while its work takes long."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import DAY_US, FixedClock
from loopwright.kernel.errors import StorageFull, Unavailable
from loopwright.loop import Reactor, garbage, retention
from loopwright.server import background
from loopwright.server.background import Background
from loopwright.server.signal import CommitSignal
from loopwright.store import compacting, sql
from loopwright.store import lease as leases
from loopwright.store import sealer as sealers
from loopwright.store.blobs import open_blob_store
from loopwright.store.engine import Database
from tests.databases import Postgres
from tests.servers import settings_in
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def servers(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Background]]:
    """Two on one PostgreSQL, whose leases are short and whose chores are soon due."""
    monkeypatch.setattr(leases, "LEASE_S", 0.9)
    monkeypatch.setattr(background, "LATER_S", 2.5)
    monkeypatch.setattr(background, "UPKEEP_AFTER_S", 0.1)
    monkeypatch.setattr(background, "UPKEEP_EVERY_S", 0.3)
    url, made, opened = postgres.with_tables(), [], []
    for _ in range(2):
        database = Database(url)
        dispatcher = Dispatcher(database)
        parts: Any = SimpleNamespace(
            database=database,
            dispatcher=dispatcher,
            signal=CommitSignal(database),
            reactor=Reactor(dispatcher),
            blobs=open_blob_store(str(tmp_path / "blobs")),
            settings=settings_in(tmp_path, 0, ""),
        )
        opened.append(database)
        made.append(Background(parts))
    yield made
    for server in made:
        if any(thread.is_alive() for thread in server._threads):
            server.stop()
    for database in opened:
        database.close()


def test_chores_are_the_leaders_alone(servers: list[Background], monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, int]] = []
    may_end = threading.Event()
    answers: list[tuple[leases.Lease, bool]] = []
    loops: dict[leases.Lease, int] = {}
    ask = leases.Lease._ask

    def noted(lease: leases.Lease) -> None:
        ask(lease)
        if lease._name == "tidying":
            loops.setdefault(lease, threading.get_ident())  # who asks first works; a thread of its own prolongs
            answers.append((lease, lease._is_held))

    def collect(*_: Any) -> None:
        begun.append((len(answers), threading.get_ident()))
        may_end.wait(PATIENCE_S)

    def leader_at(place: int) -> leases.Lease:
        return next(lease for lease, is_held in reversed(answers[:place]) if is_held)

    def leads_alone() -> bool:
        """Three times as long as a lease lasts: whoever stopped prolonging it would have lost it by then.

        A machine that lets the leader stand still for longer gives it to the other, as it should; that one leads then.
        """
        if not begun:
            return False
        place = begun[-1][0]
        refused = sum(not is_held for _, is_held in answers[place:])
        return refused > 9 and {lease for lease, is_held in answers[place:] if is_held} == {leader_at(place)}

    monkeypatch.setattr(leases.Lease, "_ask", noted)
    monkeypatch.setattr(garbage, "collect", collect)
    for server in servers:
        server.start()
    assert wait_until(leads_alone)
    assert all(loops[leader_at(place)] == thread for place, thread in begun)
    may_end.set()


def test_a_database_that_went_away_is_told_once_and_left_behind(
    servers: list[Background], postgres: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However long it lasts, it fills no log, and whoever asks hears that the server is not ready."""
    tries: list[str] = []
    ask = leases.Lease._ask

    def counted(lease: leases.Lease) -> None:
        tries.append(lease._name)
        ask(lease)

    monkeypatch.setattr(leases.Lease, "_ask", counted)
    monkeypatch.setattr(background, "PAUSE_S", 0.05)
    monkeypatch.setattr(sealers, "LOOK_EVERY_S", 0.05)
    database = servers[0]._context.database
    servers[0].start()
    wait_until(lambda: {"reactor", "timers", "tidying", "upkeep"} <= set(tries))
    with postgres.shut(database.url):
        wait_until(lambda: database.is_away)
        for _ in range(2):
            tries.clear()
            caplog.clear()
            wait_until(lambda: all(tries.count(name) > 5 for name in ("reactor", "timers", "tidying", "upkeep")))
        assert "did not answer" in database.failure
        assert not caplog.records
    wait_until(lambda: not database.failure)
    assert not database.is_away


def test_upkeep_is_due_again_and_again(servers: list[Background], monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    servers[0]._context.dispatcher.call(
        "projects.create", {"name": "a", "owner": "b"}, actor=LOCAL_ACTOR, project=SYSTEM
    )
    monkeypatch.setattr(compacting, "mergeable", lambda tx, limit: looked.append(tx.project))
    servers[0].start()
    wait_until(lambda: len(looked) > 2)
    assert set(looked) == {"a"}


@pytest.fixture
def alone(dispatcher: Dispatcher, tmp_path: Path) -> Background:
    """A server on SQLite, not started."""
    parts: Any = SimpleNamespace(
        database=dispatcher.database,
        dispatcher=dispatcher,
        signal=CommitSignal(dispatcher.database),
        reactor=Reactor(dispatcher),
        blobs=open_blob_store(str(tmp_path / "blobs")),
        settings=settings_in(tmp_path, 0, ""),
    )
    return Background(parts)


def test_what_a_loop_cannot_do_needs_a_person_until_it_can(
    alone: Background, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that nobody reads is no telling: chunks would stay small, garbage on the disk and old rows in it."""

    def fail(*_: Any, **__: Any) -> None:
        raise StorageFull("no room for a list of names")

    def told() -> list[str]:
        return [need.sentence for need in call("loop.attention").needs if need.kind == "background"]

    chores = [
        background.Chore("collecting garbage", alone._tidy_stores, 0.0, 3600.0),
        background.Chore("ending", lambda: alone._stop.set() or True, 0.1, 3600.0),
    ]
    with monkeypatch.context() as broken:
        broken.setattr(garbage, "collect", fail)
        broken.setattr(compacting, "mergeable", fail)
        broken.setattr(retention, "apply", fail)
        alone._lead_chores("tidying", chores)
        alone._stop.clear()
        assert not alone._keep_up()
        assert not alone._tidy_rows()
    whats = ("collecting garbage", "merging and counting chunks", "removing old rows")
    assert sorted(told()) == [f"{what} fails: no room for a list of names" for what in whats]
    alone._stop.clear()
    assert alone._keep_up()
    assert alone._tidy_rows()
    monkeypatch.setattr(garbage, "collect", lambda *_: None)
    alone._lead_chores("tidying", chores)
    assert told() == []


def test_a_chore_that_failed_is_tried_again_soon_and_then_ever_later(
    alone: Background, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lock that was waited for in vain needs nobody for an hour, whether it met one project or the whole chore."""
    now = [0.0]
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(alone._stop, "wait", lambda left_s: now.__setitem__(0, now[0] + left_s))
    tries, at, outcomes = list[str](), list[float](), iter(("project", "whole", "project", "done", "whole", "done"))

    def look(*_: Any, **__: Any) -> list[str]:
        if tries[-1] == "project":
            raise Unavailable("another session of the database holds what this call needs")
        return []

    def keep_up() -> bool:
        at.append(now[0])
        tries.append(next(outcomes, "end"))
        if tries[-1] == "end":
            alone._stop.set()
        elif tries[-1] == "whole":
            raise Unavailable("another session of the database holds what this call needs")
        return alone._keep_up()

    monkeypatch.setattr(compacting, "mergeable", look)
    alone._lead_chores("upkeep", [background.Chore("merging", keep_up, 0.0, 200.0)])
    assert at == [0.0, 60.0, 180.0, 380.0, 580.0, 640.0, 840.0]
    assert [need for need in call("loop.attention").needs if need.kind == "background"] == []


def test_what_expired_goes_part_by_part_until_nothing_is_left(
    alone: Background, wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "TIDY_BATCH", 2)
    monkeypatch.setattr(background, "TIDY_PAUSE_S", 0.0)
    dispatcher, parts = alone._context.dispatcher, list[int]()
    for number in range(5):
        key = {"idempotency_key": f"k{number}", "actor": LOCAL_ACTOR, "project": "flights"}
        dispatcher.call("tracking.start_run", {"experiment": "late"}, **key)
    wall.at_us += 31 * DAY_US
    delete = sql.delete_keys
    monkeypatch.setattr(sql, "delete_keys", lambda *which: parts.append(delete(*which)) or parts[-1])
    alone._tidy_rows()
    assert parts == [2, 2, 1, 0]
