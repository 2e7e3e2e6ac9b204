"""The skew audit finds what was served otherwise."""

import random
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.data import KnownAt
from loopwright.features.join import compute_features
from loopwright.features.skew import compare_served
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.errors import InvalidInput

FLOWN = [(f"F{hour}", hour, hour + 2, "UA", "JFK", float(hour % 3) * 10) for hour in range(20)]


@pytest.fixture
def served(small: Any) -> tuple[dict[str, pl.LazyFrame], pl.DataFrame]:
    flown = small.flights(FLOWN)
    seen = small.weather([("JFK", hour, hour / 7, "clear") for hour in range(20)])
    scans = {"flights": flown.lazy(), "weather": seen.lazy()}
    at_us = flown["scheduled_at"].dt.epoch("us")
    found = compute_features(small.plan, scans, flown, at_us.to_numpy(), small.run_requests)
    columns = [found.columns[name].alias(f"f.{name}") for name in small.plan.columns]
    return scans, pl.DataFrame([flown["flight_id"].alias("row_key"), at_us.alias("event_at"), *columns])


def test_what_was_served_right_is_equal_to_the_bit(small: Any, served: Any) -> None:
    scans, log = served
    report = compare_served(small.plan, scans, log, small.run_requests)
    assert (report.rows, report.unequal_rows, report.unmatched_rows, report.columns) == (20, 0, 0, {})


def test_the_smallest_difference_is_found_and_named(small: Any, served: Any) -> None:
    scans, log = served
    is_fifth = pl.int_range(pl.len()) == 5
    wrong = log.with_columns(
        pl.when(is_fifth).then(pl.col("f.temp") + 1e-16).otherwise(pl.col("f.temp")).alias("f.temp"),
        pl.when(is_fifth).then(None).otherwise(pl.col("f.sky")).alias("f.sky"),
    ).with_columns(pl.when(pl.col("row_key") == "F7").then(9.0).otherwise(pl.col("f.hour")).alias("f.hour"))
    report = compare_served(small.plan, scans, wrong, small.run_requests)
    assert report.columns == {"hour": 1, "temp": 1, "sky": 1}
    assert report.unequal_rows == 2
    assert [(found.row_id, found.column) for found in report.first] == [("F5", "temp"), ("F5", "sky"), ("F7", "hour")]
    assert (report.first[2].served, report.first[2].computed) == (9.0, 7.0)


def test_rows_without_a_row_in_the_dataset_are_counted(small: Any, served: Any) -> None:
    scans, log = served
    unknown = log.with_columns(
        pl.when(pl.col("row_key") == "F0").then(pl.lit("X")).otherwise("row_key").alias("row_key")
    )
    assert compare_served(small.plan, scans, unknown, small.run_requests).unmatched_rows == 1


def test_what_the_log_leaves_out_is_not_compared(small: Any, served: Any) -> None:
    scans, log = served
    # Rows that were logged before a column became personal have it, later ones do not.
    partly = log.with_columns(pl.when(pl.col("row_key") == "F1").then("f.temp").alias("f.temp")).drop("f.sky")
    report = compare_served(small.plan, scans, partly, small.run_requests, unlogged=["temp", "sky"])
    assert (report.rows, report.unequal_rows) == (20, 0)


def test_a_log_that_cannot_be_checked_says_why(small: Any, served: Any) -> None:
    scans, log = served
    with pytest.raises(InvalidInput, match=r"no column f\.temp"):
        compare_served(small.plan, scans, log.drop("f.temp"), small.run_requests)
    with pytest.raises(InvalidInput, match="lack inputs"):
        compare_served(small.plan, scans, log.drop("row_key"), small.run_requests)


def irregular(small: Any) -> tuple[dict[str, pl.LazyFrame], pl.DataFrame]:
    """Return datasets of which hardly two moments lie the same distance apart, and their flights."""
    chance = random.Random(3)
    rows = [(f"F{n}", n, n + 2 + n % 3, "UA", "JFK", float(chance.randint(0, 40))) for n in range(4, 200)]
    seen = small.weather([("JFK", hour, chance.random(), chance.choice("abcdefgh")) for hour in range(210)])

    def moved(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        minutes = [pl.Series([chance.randint(0, 55) for _ in range(frame.height)]) for _ in columns]
        late = zip(columns, minutes, strict=True)
        return frame.with_columns((pl.col(name) + pl.duration(minutes=by)).alias(name) for name, by in late)

    flown = moved(small.flights(rows), "scheduled_at", "landed_at")
    return {"flights": flown.lazy(), "weather": moved(seen, "observed_at").lazy()}, flown


def shifted(plan: Any, by_us: int) -> Any:
    """Return a plan in which everything becomes known so much later."""

    def moved(dataset: Any) -> Any:
        known = {name: KnownAt(one.column, one.after_us + by_us) for name, one in dataset.known_at.items()}
        return msgspec.structs.replace(dataset, known_at=known)

    return msgspec.structs.replace(plan, datasets=[moved(dataset) for dataset in plan.datasets])


@pytest.mark.parametrize(
    ("known_later", "asked_later", "columns", "cause", "by_us"),
    [
        (-HOUR_US, 0, {"temp", "sky", "origin_minutes_2h"}, "early", HOUR_US),
        (3 * HOUR_US, 0, {"carrier_late_share_1d", "carrier_landed_1d", "origin_minutes_2h"}, "late", 3 * HOUR_US),
        (0, 2 * HOUR_US, {"temp", "sky"}, "clock", 2 * HOUR_US),
        (0, -20 * HOUR_US, {"temp", "sky"}, "clock", None),
    ],
)
def test_a_planted_leak_and_a_stale_value_are_named_rightly(
    small: Any, known_later: int, asked_later: int, columns: set[str], cause: str, by_us: int | None
) -> None:
    scans, flown = irregular(small)
    at_us = flown["scheduled_at"].dt.epoch("us")
    right = compute_features(small.plan, scans, flown, at_us.to_numpy(), small.run_requests).columns
    moved = shifted(small.plan, known_later)
    wrong = compute_features(moved, scans, flown, at_us.to_numpy() + asked_later, small.run_requests).columns
    logged = [(wrong if name in columns else right)[name].alias(f"f.{name}") for name in right]
    log = pl.DataFrame([flown["flight_id"].alias("row_key"), at_us.alias("event_at"), *logged])
    report = compare_served(small.plan, scans, log, small.run_requests)
    causes = {skew.column: skew for skew in report.features}
    assert set(causes) == columns
    for skew in causes.values():
        assert skew.cause == (cause if by_us is not None else "unknown"), skew.tell()
        assert by_us is None or skew.by_us == by_us, skew.tell()


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (pl.lit(None, pl.Float64), "missing"),
        (pl.col("f.temp").cast(pl.Float32).cast(pl.Float64), "rounding"),
        (pl.lit(-1.0), "default"),
        (pl.col("f.temp") * 1.8 + 32, "unknown"),
    ],
)
def test_values_that_show_their_cause_themselves(small: Any, served: Any, change: pl.Expr, cause: str) -> None:
    scans, log = served
    report = compare_served(small.plan, scans, log.with_columns(change.alias("f.temp")), small.run_requests)
    assert [(skew.column, skew.cause) for skew in report.features] == [("temp", cause)]
    hour = log.with_columns(pl.col("f.hour") + 1)
    assert [skew.cause for skew in compare_served(small.plan, scans, hour, small.run_requests).features] == ["function"]


def test_values_that_are_told_at_the_end_of_the_day_are_late_by_up_to_a_day(small: Any) -> None:
    scans, flown = irregular(small)
    at_us = flown["scheduled_at"].dt.epoch("us").to_numpy()
    right = compute_features(small.plan, scans, flown, at_us, small.run_requests).columns
    since_midnight = at_us % (24 * HOUR_US)
    parts = [
        compute_features(shifted(small.plan, int(by)), scans, flown[[row]], at_us[[row]], small.run_requests).columns
        for row, by in enumerate(since_midnight)
    ]
    told = {"carrier_landed_1d", "carrier_late_share_1d"}
    logged = {name: pl.concat([part[name] for part in parts]) if name in told else right[name] for name in right}
    log = pl.DataFrame([flown["flight_id"].alias("row_key"), pl.Series("event_at", at_us)]).with_columns(
        column.alias(f"f.{name}") for name, column in logged.items()
    )
    report = compare_served(small.plan, scans, log, small.run_requests)
    assert {skew.column for skew in report.features} == told
    for skew in report.features:
        assert skew.cause == "late", skew.tell()
        assert HOUR_US <= skew.by_us <= 24 * HOUR_US
