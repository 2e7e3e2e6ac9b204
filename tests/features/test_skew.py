"""The skew audit finds what was served otherwise."""

from typing import Any

import polars as pl
import pytest

from loopwright.features.join import compute_features
from loopwright.features.skew import compare_served
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
