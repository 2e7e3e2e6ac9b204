"""A store says when it is another than it was, what it has of a view, and whether it takes rows."""

import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.features import bind_views
from loopwright.features.online import OnlineStore, OnlineStores, sqlite
from loopwright.features.online.sqlite import SqliteOnlineStore
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.errors import Unavailable


def test_it_says_what_it_has_of_a_view(small: Any, open_store: Callable[[], OnlineStore]) -> None:
    store, view = open_store(), bind_views(small.plan, "p")[0]
    rows = small.weather([("JFK", 1, 20.0, "clear"), ("LGA", 1, 10.0, "clear")])
    assert store.held([view.key]) == {}
    store.push([view], rows[:1])
    assert store.held([view.key, "p/other@1"]) == {view.key: "rows"}
    generation = store.grow(view.key)
    store.fill(view, rows, ["a"], 99 * HOUR_US, generation)
    assert store.held([view.key]) == {view.key: "rows"}
    store.switch(generation)
    assert store.held([view.key]) == {view.key: "begun"}
    assert store.finish(view.key) == 2
    assert store.held([view.key]) == {view.key: "filled"}
    assert store.filled(view.key) == {"a"}


def test_it_is_known_by_one_name_to_all(open_store: Callable[[], OnlineStore]) -> None:
    store, other = open_store(), open_store()
    assert store.try_out().name == other.try_out().name == store.try_out().name != ""


def test_a_redis_that_was_emptied_has_another_name(empty_redis: str) -> None:
    import redis

    from loopwright.features.online import open_online_store

    store = open_online_store(f"{empty_redis}#p")
    before = store.try_out().name
    redis.Redis.from_url(empty_redis).flushall()
    assert store.try_out().name not in ("", before)
    store.close()


def test_a_file_that_was_removed_has_another_name(tmp_path: Path) -> None:
    store = SqliteOnlineStore(tmp_path / "online.sqlite")
    before = store.try_out().name
    for path in tmp_path.iterdir():
        path.unlink()
    assert store.try_out().name not in ("", before)
    store.close()


def lose(store: Any) -> None:
    """Take from a store all that it holds."""
    if isinstance(store, SqliteOnlineStore):
        for path in store.path.parent.iterdir():
            path.unlink()
    else:
        store._at._client.flushall()


def test_what_is_lost_amid_a_fill_is_read_again(
    small: Any, open_store: Callable[[], OnlineStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ENTITIES_AT_ONCE", 200)
    store: Any = open_store()
    view, rows = bind_views(small.plan, "p")[0], small.weather([(f"A{n:04}", 1, 20.0, "clear") for n in range(600)])
    merge_name = "_merge_meanwhile" if isinstance(store, SqliteOnlineStore) else "_merge"
    merge, calls = getattr(store, merge_name), list[int]()

    def merge_what_is_left(*args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            lose(store)
        return merge(*args, **more)

    name = store.try_out().name
    with monkeypatch.context() as patch:
        patch.setattr(store, merge_name, merge_what_is_left)
        with pytest.raises(Unavailable, match="lost what it held"):
            store.fill(view, rows, ["a"], 99 * HOUR_US, None, name)
    with pytest.raises(Unavailable, match="lost what it held"):
        store.finish(view.key, name)
    assert store.filled(view.key) == set()
    assert store.held([view.key]) == {view.key: "rows"}
    name = store.try_out().name
    store.fill(view, rows, ["a"], 99 * HOUR_US, None, name)
    assert store.finish(view.key, name) == 600
    assert store.held([view.key]) == {view.key: "filled"}


def test_a_file_that_takes_no_rows_says_so_and_one_that_others_write_to_does(tmp_path: Path) -> None:
    stores = OnlineStores(tmp_path)
    store = stores.open("p")
    name = store.try_out().name
    with sqlite3.connect(stores.address("p"), isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert store.try_out().name == name
        writer.execute("ROLLBACK")
    writer.close()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(Unavailable):
            store.try_out()
        with pytest.raises(Unavailable):
            stores.try_out()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.try_out().name == name
    stores.try_out()
    store.close()
