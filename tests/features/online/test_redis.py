"""The store in a Redis: to the last bit that in a file, for many writers, and open to nobody else's code."""

import random
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.features import bind_views
from loopwright.features.online import OnlineStore, OnlineStores, Part, open_online_store
from loopwright.features.online.redis import RedisOnlineStore
from loopwright.features.online.redis_scripts import SIGNS
from loopwright.features.online.redis_server import remove, restricted_url
from loopwright.features.online.sqlite import SqliteOnlineStore
from loopwright.features.online.upkeep import LATE_REQUESTS_US
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.errors import InvalidInput, StorageFull, Unavailable
from tests.features.online.test_sqlite import flight_rows, weather_rows, with_both_entities
from tests.redis_server import comes_back, picture_of, running_redis


@pytest.fixture
def store(empty_redis: str) -> Any:
    opened = RedisOnlineStore(f"{empty_redis}#p")
    yield opened
    opened.close()


def landed(store: OnlineStore, small: Any, carrier: str = "UA") -> float:
    found = store.lookup([bind_views(small.plan, "p")[1]], {"carrier": [carrier]}, [24 * HOUR_US])
    return float(found.columns["carrier_landed_1d"][0])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flight_rows, weather_rows, st.integers(0, 1000), st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_it_holds_and_answers_what_a_file_does_to_the_bit(
    small: Any, tmp_path_factory: Any, empty_redis: str, flown: list[Any], seen: list[Any], seed: int, hours: list[int]
) -> None:
    chance = random.Random(seed)
    project = f"p{uuid.uuid4().hex}"  # the Redis keeps what examples before this one put there
    plan = with_both_entities(small.plan)
    views = bind_views(plan, project)
    file = SqliteOnlineStore(tmp_path_factory.mktemp("online") / "online.sqlite")
    store = RedisOnlineStore(f"{empty_redis}#{project}")
    frames = {"flights": small.flights(flown), "weather": small.weather(seen)}
    for each in (file, store):
        for _ in range(2):
            for view in views:
                rows = frames[view.dataset.name].sample(fraction=1, shuffle=True, seed=chance.getrandbits(30))
                cut = chance.randint(0, rows.height)
                each.push([view], rows[cut:])
                each.fill(view, rows[:cut], ["a"], 100 * HOUR_US)
        for view in views[:2]:
            generation = each.grow(view.key)
            each.fill(view, frames[view.dataset.name], ["b"], 30 * HOUR_US, generation)
            each.switch(generation)
    n = len(hours)
    entities = {name: [chance.choice(["JFK", "EWR", "UA", None]) for _ in range(n)] for name in ("origin", "carrier")}
    at_us = np.array(hours) * HOUR_US
    expected, found = (each.lookup(views, entities, at_us) for each in (file, store))
    for name, values in expected.columns.items():
        assert np.array_equal(np.asarray(values, object), np.asarray(found.columns[name], object)) or np.array_equal(
            values, found.columns[name], equal_nan=True
        ), name
        assert expected.reasons[name].tolist() == found.reasons[name].tolist(), name
    for view in views:
        assert file.filled(view.key) == store.filled(view.key)
    assert file.upkeep.view_keys(project) == store.upkeep.view_keys(project)
    keys = {view.key for view in views} | {f"{project}/other@1"}
    assert file.held(keys) == store.held(keys)
    file.close()
    store.close()


def test_several_writers_lose_nothing(small: Any, empty_redis: str) -> None:
    view = bind_views(small.plan, "p")[1]

    def push(writer: int) -> None:
        own = RedisOnlineStore(f"{empty_redis}#p")
        for number in range(20):
            own.push([view], small.flights([(f"F{writer}-{number}", 1, 2 + writer, "UA", "JFK", 30.0)]))
        own.close()

    threads = [threading.Thread(target=push, args=[writer]) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = RedisOnlineStore(f"{empty_redis}#p")
    assert landed(store, small) == 120.0
    store.close()


def test_a_push_that_is_refused_at_the_end_changes_nothing(small: Any, store: RedisOnlineStore) -> None:
    view = bind_views(small.plan, "p")[1]

    def refuse() -> None:
        raise Unavailable("the log is full")

    with pytest.raises(Unavailable, match="log is full"):
        store.push_together([Part([view], small.flights([("F1", 1, 2, "UA", "JFK", 30.0)]))], None, refuse)
    assert store.held([view.key]) == {}


def test_what_is_long_over_goes(small: Any, store: RedisOnlineStore) -> None:
    origin = bind_views(small.plan, "p")[0]
    assert origin.view.ttl_us is not None
    store.push([origin], small.weather([("JFK", 1, 20.0, "clear"), ("LGA", 40 * 24, 5.0, "snow")]))
    early = 1 * HOUR_US + origin.view.ttl_us + 48 * HOUR_US + LATE_REQUESTS_US
    assert store.upkeep.forget_expired(origin, early) == (0, 0)
    assert store.upkeep.forget_expired(origin, early + 1).entities == 1
    found = store.lookup([origin], {"origin": ["JFK", "LGA"]}, [(40 * 24 + 2) * HOUR_US] * 2)
    assert found.columns["sky"] == [None, "snow"]


def test_code_of_a_project_reaches_its_own_features_and_nothing_else(small: Any, empty_redis: str) -> None:
    import redis

    mine, theirs = (RedisOnlineStore(f"{empty_redis}#{name}") for name in ("p", "q"))
    row = small.flights([("F1", 1, 2, "UA", "JFK", 30.0)])
    mine.push([bind_views(small.plan, "p")[1]], row)
    theirs.push([bind_views(small.plan, "q")[1]], row)
    url = restricted_url(empty_redis, "p")
    assert "sesame" not in url
    child = open_online_store(url)
    assert landed(child, small) == 1.0
    child.push([bind_views(small.plan, "p")[1]], small.flights([("F2", 1, 3, "UA", "JFK", 0.0)]))
    assert landed(mine, small) == 2.0
    with pytest.raises(Unavailable, match=r"(?i)permission"):
        open_online_store(url.replace("#p", "#q")).lookup([bind_views(small.plan, "q")[1]], {"carrier": ["UA"]}, [0])
    raw = redis.Redis.from_url(url)
    attempts: list[Callable[[], Any]] = [
        lambda: raw.hgetall("lw:{q}:g"),
        lambda: raw.keys("*"),
        lambda: raw.flushall(),
        lambda: raw.config_get("requirepass"),
        lambda: raw.acl_list(),
        lambda: raw.set("x", 1),
        lambda: raw.eval("return redis.call('HGETALL', 'lw:{q}:g')", 0),
        lambda: raw.eval("return redis.call('KEYS', '*')", 0),
        lambda: raw.eval("while true do end", 0),
        lambda: raw.script_load("while true do end"),
        lambda: raw.script_flush(),
        lambda: raw.script_kill(),
        lambda: raw.publish("a", "b"),
    ]
    for attempt in attempts:
        with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission|can't (access|run)"):
            attempt()
    assert restricted_url(empty_redis, "p") == url, "another gateway gives the same"
    remove(empty_redis, "p")
    assert mine.held([bind_views(small.plan, "p")[1].key]) == {}
    assert landed(theirs.__class__(f"{empty_redis}#q"), small) != 1.0, "keys are by project"
    assert set(theirs.held([bind_views(small.plan, "q")[1].key])) == {bind_views(small.plan, "q")[1].key}
    for each in (mine, theirs):
        each.close()


def test_a_redis_that_asks_for_no_password_is_none_for_code_of_users() -> None:
    with pytest.raises(InvalidInput, match="password") as refused:
        restricted_url("redis://127.0.0.1:1/0", "p")
    assert refused.value.field == "LOOPWRIGHT_ONLINE"


def test_one_that_is_gone_or_full_is_told_without_its_password(small: Any, tmp_path: Path) -> None:
    view = bind_views(small.plan, "p")[1]
    with running_redis(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as url:
        store = RedisOnlineStore(f"{url}#p")
        rows = [(f"F{each}", 1, 2, f"C{each}", "JFK", 30.0) for each in range(40_000)]
        with pytest.raises(StorageFull):
            store.fill(view, small.flights(rows), [], 24 * HOUR_US)
        with pytest.raises(StorageFull, match="no room"):
            store.try_out()
        with pytest.raises(StorageFull):
            OnlineStores(tmp_path, url).try_out()
    with pytest.raises(Unavailable, match="did not answer") as gone:
        store.lookup([view], {"carrier": ["UA"]}, [0])
    assert "sesame" not in str(gone.value)
    with pytest.raises(Unavailable):
        RedisOnlineStore(f"{url}#p")
    with pytest.raises(InvalidInput, match="names no project") as unnamed:
        RedisOnlineStore(url)
    assert "sesame" not in str(unnamed.value)
    store.close()


def test_many_entities_and_odd_names_are_held(small: Any, store: RedisOnlineStore) -> None:
    view = bind_views(small.plan, "p")[1]
    names = [f"C{number}" for number in range(2_500)] + ["", "a\tb", "~", "é\n", "{p}", "\x01"]
    rows = small.flights([(f"F{place}", 1, 2, name, "JFK", 30.0) for place, name in enumerate(names)])
    assert store.fill(view, rows, ["a" * 64], 24 * HOUR_US) == (len(names), len(names))
    found = store.lookup([view], {"carrier": names}, [3 * HOUR_US] * len(names))
    assert pl.Series(found.columns["carrier_landed_3h"]).sum() == len(names)


def test_one_that_comes_back_older_has_another_name_and_was_filled_from_nothing(
    small: Any, store: RedisOnlineStore, empty_redis: str
) -> None:
    view, rows = bind_views(small.plan, "p")[1], small.flights([("F1", 1, 2, "UA", "JFK", 30.0)])
    mine, theirs = store.try_out(), store.try_out()
    store.fill(view, rows, ["a"], 24 * HOUR_US, None, mine.name)
    assert store.finish(view.key, mine.name) == 1
    picture = picture_of(empty_redis)
    store.push([view], small.flights([("F2", 1, 3, "UA", "JFK", 0.0)]))
    mine, theirs = store.try_out(mine), store.try_out(theirs)
    assert mine.name == theirs.name
    comes_back(empty_redis, picture)
    for _ in range(5):
        assert store.try_out().name == mine.name, "whoever saw nothing of it misses nothing"
    assert store.filled(view.key) == {"a"}
    again = store.try_out(mine)
    assert again.name != mine.name
    assert [store.try_out(each).name for each in (theirs, mine, again)] == [again.name] * 3, "it has one for all"
    assert store.filled(view.key) == set()
    assert store.held([view.key]) == {view.key: "rows"}
    assert landed(store, small) == 1.0
    with pytest.raises(Unavailable, match="lost what it held"):
        store.finish(view.key, mine.name)
    store.fill(view, rows, ["b"], 24 * HOUR_US, None, again.name)
    assert store.held([view.key]) == {view.key: "begun"}
    assert store.filled(view.key) == {"b"}
    store.finish(view.key, again.name)
    assert store.held([view.key]) == {view.key: "filled"}


def test_however_many_look_meanwhile_a_store_stays_what_it_is(store: RedisOnlineStore) -> None:
    first = store.try_out()
    for looks in (1, SIGNS - 2, 1, 1, 200):
        for _ in range(looks):
            store.try_out()
        assert store.try_out(first).name == first.name


def test_what_a_redis_lost_that_comes_back_older_amid_a_fill_is_read_again(
    small: Any, store: RedisOnlineStore, empty_redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its picture has some of a fragment's rows, and the rest comes after it."""
    view = bind_views(small.plan, "p")[1]
    rows = small.flights([(f"F{n}", 1, 2, f"C{n:03}", "JFK", 30.0) for n in range(800)])
    merge, pictures = store._merge, list[Any]()

    def merge_and_come_back(*args: Any, **more: Any) -> Any:
        pictures.append(picture_of(empty_redis))
        if len(pictures) == 3:
            comes_back(empty_redis, pictures[1])
        return merge(*args, **more)

    name = store.try_out().name
    with monkeypatch.context() as patch:
        patch.setattr(store, "_merge", merge_and_come_back)
        with pytest.raises(Unavailable, match="lost what it held"):
            store.fill(view, rows, ["a"], 24 * HOUR_US, None, name)
    assert store.filled(view.key) == set()
    again = store.try_out().name
    assert again != name
    store.fill(view, rows, ["a"], 24 * HOUR_US, None, again)
    picture = picture_of(empty_redis)
    store.fill(view, small.flights([("F", 1, 2, "C", "JFK", 30.0)]), [], 24 * HOUR_US, None, again)
    comes_back(empty_redis, picture)
    with pytest.raises(Unavailable, match="lost what it held"):
        store.finish(view.key, again)
    assert store.held([view.key]) == {view.key: "rows"}
