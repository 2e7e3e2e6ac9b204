"""The online store: any order of arrival is one state, and its answers are those of a training set."""

import random
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.data import KnownAt, row_keys
from loopwright.features import (
    Aggregate,
    AggregateViewSpec,
    BoundView,
    ColumnViewSpec,
    DatasetPushSpec,
    FeaturePlan,
    LabelSpec,
    bind_views,
)
from loopwright.features.join import compute_features
from loopwright.features.meanings import plan_columns
from loopwright.features.online import arrivals, open_online_store, sqlite
from loopwright.features.online.sqlite import SqliteOnlineStore
from loopwright.features.served import serve_features
from loopwright.features.skew import compare_served
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
    with closing(sqlite3.connect(store.path)) as connection, connection:
        rows = connection.execute("SELECT * FROM online ORDER BY 1, 2").fetchall()
    connection.close()
    return rows


def with_both_entities(plan: FeaturePlan) -> FeaturePlan:
    """Return a plan whose aggregates are there by carrier and by origin, so that views compute the same."""
    named = {view.name: view for view in plan.views}
    by_origin = msgspec.structs.replace(named["recent_carrier"], name="recent_origin", entity="origin")
    by_carrier = msgspec.structs.replace(named["landed_origin"], name="landed_carrier", entity="carrier")
    views = [by_origin, *plan.views, by_carrier]
    return msgspec.structs.replace(plan, views=views, columns=plan_columns(plan.requests, views))


def push(store: SqliteOnlineStore, plan: FeaturePlan, flown: pl.DataFrame, seen: pl.DataFrame) -> None:
    for name, frame in (("flights", flown), ("weather", seen)):
        store.push([view for view in bind_views(plan, "p") if view.dataset.name == name], frame)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = SqliteOnlineStore(tmp_path / "online.sqlite")
    yield opened
    opened.close()


@settings(max_examples=25)
@given(flight_rows, weather_rows, st.integers(0, 1000))
def test_any_order_split_and_repetition_is_one_state(
    small: Any, tmp_path_factory: Any, flown: list[Any], seen: list[Any], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("online")
    plan = with_both_entities(small.plan)
    once, often, filled = (
        SqliteOnlineStore(folder / name, slack_us=10 * HOUR_US, most_rows=3) for name in ("a", "b", "c")
    )
    push(once, plan, small.flights(flown), small.weather(seen))
    for view in bind_views(plan, "p"):
        frame = small.flights(flown) if view.dataset.name == "flights" else small.weather(seen)
        filled.fill(view, frame, [], 100 * HOUR_US)
    chance = random.Random(seed)
    for _ in range(2):
        chance.shuffle(flown)
        chance.shuffle(seen)
        cut = chance.randint(0, 15)
        for part in (slice(cut, None), slice(None, cut)):
            push(often, plan, small.flights(flown[part]), small.weather(seen[part]))
    assert state(once) == state(often) == state(filled)
    for store in (once, often, filled):
        store.close()


@settings(max_examples=40)
@given(flight_rows, weather_rows, st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_it_answers_as_a_training_set_does_to_the_bit(
    small: Any, tmp_path_factory: Any, flown: list[Any], seen: list[Any], hours: list[int]
) -> None:
    store = SqliteOnlineStore(tmp_path_factory.mktemp("online") / "online.sqlite")
    plan = with_both_entities(small.plan)
    frames = {"flights": small.flights(flown), "weather": small.weather(seen)}
    push(store, plan, frames["flights"], frames["weather"])
    who = [(carrier, origin) for carrier in ("UA", "ZZ", None) for origin in ("JFK", "EWR", "ZZZ", None)]
    # Some are asked for that are there already: they leave themselves out, in both worlds.
    rows = small.flights([*((f"Q{hour}", hour, None, *pair, None) for hour in hours for pair in who), *flown])
    at_us = rows["scheduled_at"].dt.epoch("us").to_numpy()
    keys = rows["flight_id"].set(rows["flight_id"] == "F3", None)

    served = serve_features(plan, bind_views(plan, "p"), store, rows, at_us, small.run_requests, keys.to_list())
    scans = {name: frame.lazy() for name, frame in frames.items()}
    computed = compute_features(plan, scans, rows, at_us, small.run_requests, keys)
    assert list(served.columns) == plan.columns
    for name in plan.columns:
        values, expected = served.columns[name], computed.columns[name]
        if isinstance(values, list):
            assert values == expected.to_list(), name
        else:
            filled = expected.cast(pl.Float64).fill_null(float("nan")).to_numpy()
            assert np.array_equal(values.view(np.int64), filled.view(np.int64)), name
        assert served.reasons[name].tolist() == computed.reasons[name].tolist(), name

    log = rows.with_columns(pl.Series(f"f.{name}", values) for name, values in served.columns.items())
    log = log.with_columns(pl.Series("event_at", at_us), keys.alias("row_key"))
    assert compare_served(plan, scans, log, small.run_requests).unequal_rows == 0
    store.close()


READINGS = st.lists(
    st.tuples(
        st.sampled_from(["JFK", "EWR"]),
        st.integers(0, 40),
        st.one_of(st.none(), st.integers(0, 60)),
        st.one_of(st.none(), st.integers(0, 60)),
        st.integers(0, 3),
    ),
    max_size=30,
)
"""Origin, hour, hours at which ``temp`` and ``wind`` become known, and both values."""


def readings(rows: list[Any]) -> pl.DataFrame:
    names = ["origin", "at", "temp_at", "wind_at", "temp"]
    frame = pl.DataFrame(rows, {name: pl.String if name == "origin" else pl.Int64 for name in names}, orient="row")
    moments = (pl.col("at", "temp_at", "wind_at") * HOUR_US).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(moments, pl.col("temp").cast(pl.Float64), wind=-pl.col("temp").cast(pl.Float64))


def reading_view(**known_at: KnownAt) -> tuple[FeaturePlan, BoundView]:
    """Return a plan of one column view over readings, and the view as the store knows it."""
    dataset = DatasetPushSpec("readings", ["origin", "at"], "at", known_at)
    view = ColumnViewSpec("near", "readings", "origin", ["temp", "wind"], 30 * HOUR_US)
    plan = FeaturePlan("s", "at", ["origin", "at"], [], [view], [dataset], ["temp", "wind"])
    return plan, bind_views(plan, "p")[0]


@settings(max_examples=60)
@given(READINGS.filter(len), st.booleans())
def test_a_reading_does_not_tell_itself_in_either_world(
    small: Any, tmp_path_factory: Any, found: list[Any], one_moment: bool
) -> None:
    """Its own value would be known to training alone: a request comes before its row is pushed."""
    store = SqliteOnlineStore(tmp_path_factory.mktemp("online") / "online.sqlite")
    plan, _ = reading_view(temp=KnownAt("temp_at"), wind=KnownAt("temp_at" if one_moment else "wind_at"))
    plan = msgspec.structs.replace(plan, label=LabelSpec("readings", "wind"))
    rows = readings(found).unique(["origin", "at"], keep="first", maintain_order=True)
    before, views = SqliteOnlineStore(tmp_path_factory.mktemp("before") / "online.sqlite"), bind_views(plan, "p")
    store.push(views, rows)
    at_us, keys = rows["at"].dt.epoch("us").to_numpy(), row_keys.row_ids(rows, plan.key)
    computed = compute_features(plan, {"readings": rows.lazy()}, rows, at_us, small.run_requests, keys)
    served = serve_features(plan, views, store, rows, at_us, small.run_requests, keys.to_list())
    for name in plan.columns:
        expected = computed.columns[name].fill_null(float("nan")).to_numpy()
        assert np.array_equal(served.columns[name], expected, equal_nan=True), name
        assert served.reasons[name].tolist() == computed.reasons[name].tolist(), name
    for place in range(min(rows.height, 4)):  # without the row, nobody can leave it out
        before.push(views, rows.filter(pl.arange(rows.height) != place))
        alone = serve_features(plan, views, before, rows[place], at_us[place : place + 1], small.run_requests)
        for name in plan.columns:
            assert np.array_equal(alone.columns[name], served.columns[name][place : place + 1], equal_nan=True)
        for view in views:
            before.upkeep.forget(view.key)
    before.close()
    store.close()


def test_bodies_of_older_versions_are_read_and_merged(small: Any, store: SqliteOnlineStore) -> None:
    """They do not say which row is which: nothing is left out of them until the row comes again."""
    plan = msgspec.structs.replace(reading_view()[0], label=LabelSpec("readings", "wind"))
    views, rows = bind_views(plan, "p"), readings([("JFK", 1, None, None, 5), ("JFK", 2, None, None, 7)])
    store.push(views, rows)
    [(_, _, body)] = state(store)
    old = [(at, sequence, known_at[:-1], values) for at, sequence, known_at, values in msgspec.msgpack.decode(body)]
    with store._file.writing() as connection:
        connection.execute("UPDATE online SET body = ?", (msgspec.msgpack.encode(old),))
    asked = [2 * HOUR_US], row_keys.row_ids(rows, plan.key).to_list()[1:]
    serve = partial(serve_features, plan, views, store, rows[1:], asked[0], small.run_requests)
    assert serve(keys=asked[1]).columns["temp"].tolist() == [7.0]
    store.push(views, rows)
    assert state(store)[0][2] == body, "each row is there once, with its identity"
    assert serve(keys=asked[1]).columns["temp"].tolist() == [5.0]


def check_served(small: Any, store: SqliteOnlineStore, plan: FeaturePlan, rows: pl.DataFrame, hours: list[int]) -> None:
    """Check what is served at these hours against training, values and reasons."""
    asked = readings([(origin, hour, None, None, 0) for hour in hours for origin in ("JFK", "EWR", "LGA")])
    at_us = asked["at"].dt.epoch("us").to_numpy()
    computed = compute_features(plan, {"readings": rows.lazy()}, asked, at_us, small.run_requests)
    served = store.lookup(bind_views(plan, "p"), {"origin": asked["origin"].to_list()}, at_us)
    for name in plan.columns:
        values: Any = served.columns[name]
        assert np.array_equal(values, computed.columns[name].fill_null(float("nan")).to_numpy(), equal_nan=True), name
        assert served.reasons[name].tolist() == computed.reasons[name].tolist(), name


@settings(max_examples=60)
@given(READINGS, st.integers(0, 1000), st.sampled_from([3, 2048]))
def test_what_may_still_answer_is_kept_whatever_the_delays(
    small: Any, tmp_path_factory: Any, rows: list[Any], seed: int, most_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("online")
    once, often = (SqliteOnlineStore(folder / name, 5 * HOUR_US, most_rows) for name in ("a", "b"))
    plan, near = reading_view(temp=KnownAt("temp_at"), wind=KnownAt("wind_at"))
    once.push([near], readings(rows))
    chance = random.Random(seed)
    for row in [*chance.sample(rows, len(rows)), *chance.sample(rows, len(rows))]:
        often.push([near], readings([row]))
    assert state(once) == state(often)
    arrived = max((min(hour for hour in row[1:4] if hour is not None) for row in rows), default=0)
    behind = 0 if most_rows == 3 else 5
    check_served(small, often, plan, readings(rows), list(range(max(arrived - behind, 0), 70)))
    once.close()
    often.close()


def test_rows_that_are_known_a_day_later_leave_those_known_now(small: Any, store: SqliteOnlineStore) -> None:
    plan, near = reading_view(**{"*": KnownAt("at", DAY_US)})
    rows = [("JFK", hour, None, None, hour) for hour in range(200)]
    for row in rows:
        store.push([near], readings([row]))
    assert store.lookup([near], {"origin": ["JFK"]}, [199 * HOUR_US]).columns["temp"].tolist() == [175.0]
    check_served(small, store, plan, readings(rows), [160, 175, 199, 210, 223])


def test_rows_of_days_to_come_leave_those_of_today(small: Any, store: SqliteOnlineStore) -> None:
    plan, near = reading_view(**{"*": KnownAt("temp_at")})
    forecasts = [("JFK", issued + ahead, issued, None, issued % 7) for issued in range(0, 60, 6) for ahead in range(96)]
    for start in range(0, len(forecasts), 96):
        store.push([near], readings(forecasts[start : start + 96]))
    check_served(small, store, plan, readings(forecasts), [54, 55, 60, 100])


def test_a_value_without_an_heir_is_kept_for_ever(small: Any, store: SqliteOnlineStore) -> None:
    plan, near = reading_view(temp=KnownAt("temp_at"))
    rows = [("JFK", 0, 1, None, 3), *(("JFK", hour, None, None, 1) for hour in range(1, 300))]
    store.push([near], readings(rows))
    check_served(small, store, plan, readings(rows), [299, 320])
    assert len(state(store)[0][2]) < 60 * 60


def test_windows_of_what_is_known_a_week_later_count_what_is_known_now(store: SqliteOnlineStore) -> None:
    dataset = DatasetPushSpec("readings", ["at"], "at", {"temp": KnownAt("at", 7 * DAY_US)})
    spec = AggregateViewSpec(
        "r", "readings", "origin", [3 * HOUR_US], [Aggregate("seen", "count", "temp")], counts="known"
    )
    seen = BoundView("p/r@1", spec, dataset, {"seen_3h": "seen_3h"})
    for hour in range(400):
        store.push([seen], readings([("JFK", hour, None, None, hour)]))
    assert store.lookup([seen], {"origin": ["JFK"]}, [399 * HOUR_US]).columns["seen_3h"].tolist() == [3.0]


def test_a_flight_pushed_and_then_appended_counts_once(small: Any, store: SqliteOnlineStore) -> None:
    recent = bind_views(small.plan, "p")[1]
    row = small.flights([("F1", 1, 2, "UA", "JFK", 30.0)])
    assert store.push([recent], row) == (1, 1)
    assert store.fill(recent, row, ["fragment"], DAY_US) == (1, 0)
    assert store.lookup([recent], {"carrier": ["UA"]}, [3 * HOUR_US]).columns["carrier_landed_3h"].tolist() == [1.0]
    assert store.filled(recent.key) == {"fragment"}
    assert store.upkeep.forget(recent.key) == 1
    assert store.filled(recent.key) == set()


def test_a_window_forgets_without_a_new_event(small: Any, store: SqliteOnlineStore) -> None:
    recent = bind_views(small.plan, "p")[1]
    store.push([recent], small.flights([("F1", 1, 2, "UA", "JFK", 30.0)]))
    found = store.lookup([recent], {"carrier": ["UA"] * 4}, np.array([1, 2, 3, 4]) * HOUR_US)
    assert found.columns["carrier_landed_3h"].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert found.columns["carrier_landed_1d"].tolist() == [0.0, 1.0, 1.0, 1.0]


def test_an_old_value_is_expired_and_a_new_one_not_yet_known(small: Any, store: SqliteOnlineStore) -> None:
    origin = bind_views(small.plan, "p")[0]
    store.push([origin], small.weather([("JFK", 1, 20.0, "clear")]))
    asked = {"origin": ["JFK", "JFK", "JFK", "EWR", None]}
    found = store.lookup([origin], asked, [1 * HOUR_US, 2 * HOUR_US, 5 * HOUR_US, 0, 0])
    assert found.reasons["temp"].tolist() == [3, 0, 2, 1, 1]
    assert found.columns["sky"] == [None, "clear", None, None, None]


def test_old_rows_fall_out_and_windows_stay_right(small: Any, store: SqliteOnlineStore) -> None:
    recent = bind_views(small.plan, "p")[1]
    rows = [(f"F{hour}", hour, hour + 1, "UA", "JFK", 0.0) for hour in range(1000)]
    for start in range(0, 1000, 100):
        store.push([recent], small.flights(rows[start : start + 100]))
    sizes = [len(body) for _, _, body in state(store)]
    assert sizes == [(24 + 48 + 1) * 4 * 8]
    found = store.lookup([recent], {"carrier": ["UA", "UA"]}, [1000 * HOUR_US, 960 * HOUR_US])
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
    assert store.lookup([recent], {"carrier": ["UA"]}, [3 * HOUR_US]).columns["carrier_landed_3h"].tolist() == [80.0]
    store.close()


def test_pushes_get_their_turn_while_a_view_is_filled(
    small: Any, store: SqliteOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ENTITIES_AT_ONCE", 2)
    origin, merge = bind_views(small.plan, "p")[0], arrivals.merge
    names = ["BOS", "EWR", "JFK", "LGA", "ORD"]
    old, new = (small.weather([(name, hour, float(hour), "clear") for name in names]) for hour in (1, 2))
    other, pushes = SqliteOnlineStore(store.path), []

    def push_meanwhile(arrived: Any, bodies: Any, most_rows: int) -> Any:
        merged = merge(arrived, bodies, most_rows)
        if not pushes:
            pushes.append(threading.Thread(target=other.push, args=([origin], new)))
            pushes[0].start()
            pushes[0].join()
        return merged

    monkeypatch.setattr(arrivals, "merge", push_meanwhile)
    assert store.fill(origin, old, ["a" * 64], 9 * HOUR_US) == (5, 5)
    other.close()
    assert store.filled(origin.key) == {"a" * 64}
    found = store.lookup([origin], {"origin": names * 2}, [2 * HOUR_US] * 5 + [3 * HOUR_US] * 5)
    assert found.columns["temp"].tolist() == [1.0] * 5 + [2.0] * 5


def test_a_file_that_is_no_store_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "online.sqlite").write_text("not a database" * 100)
    with pytest.raises(Unavailable, match="filled again"):
        SqliteOnlineStore(tmp_path / "online.sqlite")
