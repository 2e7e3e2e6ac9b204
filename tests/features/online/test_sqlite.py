"""The online store: any order of arrival is one state, and its answers are those of a training set."""

import random
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.features import bind_views
from loopwright.features.online import open_online_store
from loopwright.features.online.assemble import serve_features
from loopwright.features.online.sqlite import SqliteOnlineStore
from loopwright.features.skew import compare_served
from loopwright.features.training import compute_features
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import InvalidInput, Unavailable

flight_rows = st.lists(
    st.tuples(
        st.integers(0, 9).map(lambda number: f"F{number}"),
        st.integers(0, 40),
        st.one_of(st.none(), st.integers(0, 50)),
        st.sampled_from(["UA", "B6", None]),
        st.sampled_from(["JFK", "EWR", None]),
        st.one_of(st.none(), st.floats(-20, 60)),
    ),
    max_size=15,
)
weather_rows = st.lists(
    st.tuples(
        st.sampled_from(["JFK", "EWR", None]),
        st.integers(0, 40),
        st.one_of(st.none(), st.floats(-9, 9)),
        st.sampled_from(["clear", None]),
    ),
    max_size=15,
)


def state(store: SqliteOnlineStore) -> list[Any]:
    with sqlite3.connect(store.path) as connection:
        rows = connection.execute("SELECT * FROM online ORDER BY 1, 2").fetchall()
    connection.close()
    return rows


def push(store: SqliteOnlineStore, small: Any, flown: pl.DataFrame, seen: pl.DataFrame) -> None:
    for name, frame in (("flights", flown), ("weather", seen)):
        store.push([view for view in bind_views(small.plan, "p") if view.dataset.name == name], frame)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = SqliteOnlineStore(tmp_path / "online.sqlite")
    yield opened
    opened.close()


@settings(deadline=None, max_examples=25)
@given(flight_rows, weather_rows, st.integers(0, 1000))
def test_any_order_split_and_repetition_is_one_state(
    small: Any, tmp_path_factory: Any, flown: list[Any], seen: list[Any], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("online")
    once, often = (SqliteOnlineStore(folder / name, slack_us=10 * HOUR_US, last_rows=3) for name in ("a", "b"))
    push(once, small, small.flights(flown), small.weather(seen))
    chance = random.Random(seed)
    for _ in range(2):
        chance.shuffle(flown)
        chance.shuffle(seen)
        cut = chance.randint(0, 15)
        for part in (slice(cut, None), slice(None, cut)):
            push(often, small, small.flights(flown[part]), small.weather(seen[part]))
    assert state(once) == state(often)
    once.close()
    often.close()


@settings(deadline=None, max_examples=40)
@given(flight_rows, weather_rows, st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_it_answers_as_a_training_set_does_to_the_bit(
    small: Any, tmp_path_factory: Any, flown: list[Any], seen: list[Any], hours: list[int]
) -> None:
    store = SqliteOnlineStore(tmp_path_factory.mktemp("online") / "online.sqlite")
    frames = {"flights": small.flights(flown), "weather": small.weather(seen)}
    push(store, small, frames["flights"], frames["weather"])
    who = [(carrier, origin) for carrier in ("UA", "ZZ", None) for origin in ("JFK", "EWR", "ZZZ", None)]
    rows = small.flights([(f"Q{hour}", hour, None, *pair, None) for hour in hours for pair in who])
    at_us = rows["scheduled_at"].dt.epoch("us").to_numpy()

    served = serve_features(small.plan, bind_views(small.plan, "p"), store, rows, at_us, small.run_requests)
    scans = {name: frame.lazy() for name, frame in frames.items()}
    computed = compute_features(small.plan, scans, rows, at_us, small.run_requests)
    assert list(served.columns) == small.plan.columns
    for name in small.plan.columns:
        values, expected = served.columns[name], computed.columns[name]
        if isinstance(values, list):
            assert values == expected.to_list(), name
        else:
            filled = expected.cast(pl.Float64).fill_null(float("nan")).to_numpy()
            assert np.array_equal(values.view(np.int64), filled.view(np.int64)), name
        assert served.reasons[name].tolist() == computed.reasons[name].tolist() or name in ("carrier", "hour"), name

    log = rows.with_columns(pl.Series(f"f.{name}", values) for name, values in served.columns.items())
    log = log.with_columns(pl.Series("event_at", at_us))
    assert compare_served(small.plan, scans, log, small.run_requests).unequal_rows == 0
    store.close()


def test_a_flight_pushed_and_then_appended_counts_once(small: Any, store: SqliteOnlineStore) -> None:
    recent = bind_views(small.plan, "p")[1]
    row = small.flights([("F1", 1, 2, "UA", "JFK", 30.0)])
    assert store.push([recent], row) == (1, 1)
    assert store.fill(recent, row, ["fragment"], DAY_US) == (1, 0)
    assert store.lookup(recent, ["UA"], [3 * HOUR_US]).columns["carrier_landed_3h"].tolist() == [1.0]
    assert store.filled(recent.key) == {"fragment"}
    assert store.forget(recent.key) == 1
    assert store.filled(recent.key) == set()


def test_a_window_forgets_without_a_new_event(small: Any, store: SqliteOnlineStore) -> None:
    recent = bind_views(small.plan, "p")[1]
    store.push([recent], small.flights([("F1", 1, 2, "UA", "JFK", 30.0)]))
    found = store.lookup(recent, ["UA"] * 4, np.array([1, 2, 3, 4]) * HOUR_US)
    assert found.columns["carrier_landed_3h"].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert found.columns["carrier_landed_1d"].tolist() == [0.0, 1.0, 1.0, 1.0]


def test_an_old_value_is_expired_and_a_new_one_not_yet_known(small: Any, store: SqliteOnlineStore) -> None:
    origin = bind_views(small.plan, "p")[0]
    store.push([origin], small.weather([("JFK", 1, 20.0, "clear")]))
    found = store.lookup(origin, ["JFK", "JFK", "JFK", "EWR", None], [1 * HOUR_US, 2 * HOUR_US, 5 * HOUR_US, 0, 0])
    assert found.reasons["temp"].tolist() == [3, 0, 2, 1, 1]
    assert found.columns["sky"] == [None, "clear", None, None, None]


def test_old_rows_fall_out_and_windows_stay_right(small: Any, store: SqliteOnlineStore) -> None:
    recent = bind_views(small.plan, "p")[1]
    rows = [(f"F{hour}", hour, hour + 1, "UA", "JFK", 0.0) for hour in range(1000)]
    for start in range(0, 1000, 100):
        store.push([recent], small.flights(rows[start : start + 100]))
    sizes = [len(body) for _, _, body in state(store)]
    assert sizes == [(24 + 48 + 1) * 4 * 8]
    found = store.lookup(recent, ["UA", "UA"], [1000 * HOUR_US, 960 * HOUR_US])
    assert found.columns["carrier_landed_1d"].tolist() == [23.0, 23.0]


def test_a_row_of_the_far_future_is_refused_whole(small: Any, store: SqliteOnlineStore) -> None:
    recent = bind_views(small.plan, "p")[1]
    rows = small.flights([("F1", 1, 2, "UA", "JFK", 0.0), ("F2", 99, 2, "UA", "JFK", 0.0)])
    with pytest.raises(InvalidInput, match="lies in the future") as refused:
        store.push([recent], rows, now_us=HOUR_US)
    assert refused.value.field == "rows[1].scheduled_at"
    assert state(store) == []


def test_several_writers_lose_nothing(small: Any, tmp_path: Path) -> None:
    recent = bind_views(small.plan, "p")[1]
    path = tmp_path / "online.sqlite"

    def write(writer: int) -> None:
        store = SqliteOnlineStore(path)
        for place in range(20):
            store.push([recent], small.flights([(f"F{writer}-{place}", 1, 2, "UA", "JFK", 0.0)]))
        store.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_online_store(f"sqlite:///{path}")
    assert store.lookup(recent, ["UA"], [3 * HOUR_US]).columns["carrier_landed_3h"].tolist() == [80.0]
    store.close()


def test_a_file_that_is_no_store_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "online.sqlite").write_text("not a database" * 100)
    with pytest.raises(Unavailable, match="filled again"):
        SqliteOnlineStore(tmp_path / "online.sqlite")
