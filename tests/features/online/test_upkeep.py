"""What a store lets go of goes bit by bit, and its room back to the disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.features import BoundView, bind_views
from loopwright.features.online import SLACK_US, file, upkeep
from loopwright.features.online.base import LONG
from loopwright.features.online.places import SCHEMA
from loopwright.features.online.sqlite import SqliteOnlineStore
from loopwright.features.online.upkeep import LATE_REQUESTS_US
from loopwright.kernel.clock import HOUR_US


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteOnlineStore]:
    opened = SqliteOnlineStore(tmp_path / "online.sqlite")
    yield opened
    opened.close()


def state(store: SqliteOnlineStore) -> list[Any]:
    with closing(sqlite3.connect(store.path)) as connection, connection:
        rows = connection.execute("SELECT * FROM online ORDER BY 1, 2").fetchall()
    connection.close()
    return rows


def test_entities_whose_values_are_long_over_go_and_answer_as_missing(small: Any, store: SqliteOnlineStore) -> None:
    origin, recent = bind_views(small.plan, "p")[:2]
    hour = 40 * 24
    store.push([origin], small.weather([("JFK", 1, 20.0, "clear"), ("LGA", hour, 5.0, "snow")]))
    store.push([recent], small.flights([("F1", 1, 2, "UA", "JFK", 0.0)]))
    early = 1 * HOUR_US + origin.view.ttl_us + SLACK_US + LATE_REQUESTS_US
    assert store.upkeep.forget_expired(origin, early) == (0, 0)
    before = {entity: len(body) for key, entity, body in state(store) if key == origin.key}
    assert store.upkeep.forget_expired(origin, early + 1) == (1, before["JFK"])
    assert store.upkeep.forget_expired(recent, 2 * early) == (0, 0)
    assert [(key, entity) for key, entity, _ in state(store)] == [(origin.key, "LGA"), (recent.key, "UA")]
    found = store.lookup([origin], {"origin": ["JFK", "LGA"]}, [(hour + 2) * HOUR_US] * 2)
    assert found.columns["sky"] == [None, "snow"]
    store.push([origin], small.weather([("JFK", hour, 7.0, "rain")]))
    assert store.lookup([origin], {"origin": ["JFK"]}, [(hour + 2) * HOUR_US]).columns["sky"] == ["rain"]


def test_views_are_listed_by_project_and_dropped_bit_by_bit(
    small: Any, store: SqliteOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_ENTITIES_AT_ONCE", 2)
    mine, theirs = bind_views(small.plan, "p")[0], bind_views(small.plan, "p.q")[0]
    rows = small.weather([(name, 1, 20.0, "clear") for name in ("JFK", "LGA", "EWR", "BOS", "ORD")])
    store.fill(mine, rows, ["a" * 64], 9 * HOUR_US)
    store.fill(theirs, rows, ["a" * 64], 9 * HOUR_US)
    assert store.upkeep.view_keys("p") == {mine.key}
    assert store.upkeep.forget(mine.key) == 5
    assert store.upkeep.view_keys("p") == set()
    assert set(store.held([mine.key, theirs.key])) == {theirs.key}


def temperature(store: SqliteOnlineStore, view: BoundView, *origins: str) -> list[Any]:
    found = store.lookup([view], {"origin": list(origins)}, [3 * HOUR_US] * len(origins))
    return [None if value != value else value for value in found.columns["temp"].tolist()]


def filled(store: SqliteOnlineStore, small: Any, view: BoundView) -> None:
    """Fill a view with some hundred pages."""
    rows = [(f"{number:04}" * 20, 1, 20.0, "clear") for number in range(4_000)]
    store.fill(view, small.weather(rows), [], 9 * HOUR_US)


def made_before(path: Path) -> None:
    """Make the file of a store that keeps the room of what is dropped."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)
    connection.close()


@pytest.mark.parametrize("is_old", [False, True])
def test_room_of_what_was_dropped_goes_back_to_the_disk(
    small: Any, tmp_path: Path, is_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_PAGES_AT_ONCE", 7)
    path = tmp_path / "online.sqlite"
    if is_old:
        made_before(path)
    store, gateway = SqliteOnlineStore(path), SqliteOnlineStore(path)
    dropped, kept = bind_views(small.plan, "p")[0], bind_views(small.plan, "p.q")[0]
    for view in (dropped, kept):
        filled(store, small, view)
    before = state(gateway)
    assert store.upkeep.forget(dropped.key) == 4_000
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    size_bytes = path.stat().st_size
    freed = store.upkeep.shrink()
    assert size_bytes - path.stat().st_size == freed > size_bytes // 3
    assert state(gateway) == [row for row in before if row[0] == kept.key]
    filled(gateway, small, dropped)
    assert state(gateway) == before
    assert store.upkeep.forget(dropped.key) == 4_000
    assert store.upkeep.shrink() > 0
    for opened in (store, gateway):
        opened.close()


def test_giving_room_back_may_take_longer_than_an_answer(
    small: Any, store: SqliteOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = bind_views(small.plan, "p")[0]
    filled(store, small, view)
    store.upkeep.forget(view.key)
    store.close()
    monkeypatch.setattr(upkeep, "_PAGES_AT_ONCE", 7)
    monkeypatch.setattr(file, "_STEPS", 1)
    looks = count()
    monkeypatch.setattr(file, "time", SimpleNamespace(monotonic=lambda: float(next(looks))))
    patient = SqliteOnlineStore(store.path, patience=LONG._replace(answer_s=500.0))
    assert patient.upkeep.shrink() > 0
    assert next(looks) > 2 * 500
    patient.close()


def test_a_large_file_of_before_is_not_rewritten_while_pushes_wait(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "online.sqlite"
    made_before(path)
    monkeypatch.setattr(upkeep, "MOST_REBUILT_BYTES", 1)
    store, (view, other) = SqliteOnlineStore(path), (bind_views(small.plan, name)[0] for name in ("p", "p.q"))
    filled(store, small, view)
    filled(store, small, other)
    store.upkeep.forget(view.key)
    assert store.upkeep.shrink() == 0
    assert store.upkeep.view_keys("p.q") == {other.key}
    store.close()


def test_what_a_killed_process_left_is_dropped_later(
    small: Any, store: SqliteOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = bind_views(small.plan, "p")[0]
    monkeypatch.setattr(upkeep, "_ENTITIES_AT_ONCE", 1)
    store.fill(view, small.weather([("JFK", 1, 20.0, "clear"), ("LGA", 1, 10.0, "clear")]), ["a"], 99 * HOUR_US)
    generation = store.grow(view.key)
    store.fill(view, small.weather([("JFK", 1, 21.0, "clear")]), ["b"], 99 * HOUR_US, generation)
    assert store.upkeep.forget_left_over() == 0, "neither what answers nor what is filled is left over"
    with monkeypatch.context() as killed:
        killed.setattr(store.upkeep, "forget_left_over", lambda view_keys: 0)
        store.switch(generation)
    assert temperature(store, view, "JFK", "LGA") == [21.0, None]
    assert store.upkeep.forget_left_over() == 2
    assert store.upkeep.forget_left_over() == 0
    assert temperature(store, view, "JFK", "LGA") == [21.0, None]
