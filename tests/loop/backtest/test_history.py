"""Stored rows come as they once came: when they were complete, and as the requests that they were."""

from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

from loopwright.data import KnownAt
from loopwright.features import Aggregate
from loopwright.kernel.clock import DAY_US, HOUR_US, parse_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.loop.backtest.history import known_by, requests_of, streams_of
from tests.loop.conftest import PROJECT

START = datetime(2013, 3, 1, tzinfo=UTC)
START_US = parse_moment(START)
FLIGHTS = PROJECT.datasets[0]
ROWS = pl.DataFrame(
    {
        "id": ["early", "landed", "never"],
        "carrier": ["UA", "AA", "UA"],
        "scheduled_at": [START - timedelta(hours=5), START + timedelta(hours=1), START + timedelta(hours=2)],
        "landed_at": [START - timedelta(hours=1), START + timedelta(hours=4), None],
        "is_late": [True, False, None],
    },
    schema_overrides={"scheduled_at": pl.Datetime("us", "UTC"), "landed_at": pl.Datetime("us", "UTC")},
)


def test_a_row_is_known_once_it_is_complete_or_a_day_later() -> None:
    assert known_by(PROJECT, FLIGHTS, ROWS, START_US)["id"].to_list() == ["early"]
    [stream] = streams_of(PROJECT, {"flights": ROWS})
    assert stream.between(START_US, START_US + 3 * HOUR_US).is_empty()
    assert stream.between(START_US, START_US + DAY_US)["id"].to_list() == ["landed"]
    assert stream.between(START_US + DAY_US, START_US + 2 * DAY_US)["id"].to_list() == ["never"]
    with pytest.raises(InvalidInput, match="nothing of dataset flights was known by then"):
        known_by(PROJECT, FLIGHTS, ROWS, START_US - DAY_US)


def test_rows_without_a_moment_were_there_from_the_start() -> None:
    timeless = msgspec.structs.replace(FLIGHTS, time=None, known_at={})
    assert known_by(PROJECT, timeless, ROWS, START_US).height == ROWS.height
    assert streams_of(msgspec.structs.replace(PROJECT, datasets=[timeless]), {"flights": ROWS}) == []


def test_each_row_of_the_stretch_is_the_request_it_was_without_its_outcome() -> None:
    requests, last_label_at = requests_of(PROJECT, {"flights": ROWS}, START_US, START_US + DAY_US)
    asked, outcomes = requests.between(START_US, START_US + DAY_US)
    assert [(row["id"], row["carrier"]) for row in asked] == [("landed", "AA"), ("never", "UA")]
    assert all(row.keys() == {"id", "scheduled_at", "carrier", "event_at"} for row in asked)
    landed_at = START_US + 4 * HOUR_US
    assert (outcomes, last_label_at) == ([(False, landed_at), (None, None)], landed_at)
    with pytest.raises(InvalidInput, match="no row in this stretch"):
        requests_of(PROJECT, {"flights": ROWS}, START_US + DAY_US, START_US + 2 * DAY_US)


def test_a_row_whose_columns_are_read_before_the_last_comes_column_by_column() -> None:
    by_carrier = msgspec.structs.replace(PROJECT.views[0], aggregates=[Aggregate("asked", "count", "carrier")])
    early = msgspec.structs.replace(PROJECT, views=[by_carrier])
    [stream] = streams_of(early, {"flights": ROWS})
    [pushed] = stream.between(START_US, START_US + HOUR_US).to_dicts()
    assert (pushed["id"], pushed["carrier"], pushed["is_late"], pushed["landed_at"]) == ("landed", "AA", None, None)
    assert pushed.keys() == set(ROWS.columns)
    [again] = stream.between(START_US + 3 * HOUR_US, START_US + 4 * HOUR_US).to_dicts()
    assert (again["id"], again["is_late"], again["landed_at"]) == ("landed", False, START + timedelta(hours=4))
    assert stream.between(START_US + 4 * HOUR_US, START_US + 9 * DAY_US).is_empty()
    assert stream.first_between(START_US, START_US + DAY_US)["is_late"].to_list() == [False, None]
    assert stream.completed_between(START_US, START_US + DAY_US) == []
    [later] = stream.completed_between(START_US + HOUR_US, START_US + DAY_US)
    assert later.to_dicts() == [{"id": "landed", "is_late": False, "landed_at": START + timedelta(hours=4)}]
    seen = known_by(early, FLIGHTS, ROWS, START_US - 2 * HOUR_US)
    assert seen.select("id", "is_late").rows() == [("early", None)]


def test_a_moment_comes_with_the_first_of_what_it_tells_of() -> None:
    rows = ROWS.with_columns(delay=pl.lit(1.0))
    for known_at in (
        {"delay": KnownAt("landed_at", HOUR_US), "is_late": KnownAt("landed_at")},
        {"is_late": KnownAt("landed_at"), "delay": KnownAt("landed_at", HOUR_US)},
    ):
        dataset = msgspec.structs.replace(FLIGHTS, known_at=known_at)
        early = msgspec.structs.replace(PROJECT, datasets=[dataset])
        [stream] = streams_of(early, {"flights": rows})
        [landed] = stream.between(START_US + 3 * HOUR_US, START_US + 4 * HOUR_US).to_dicts()
        assert (landed["is_late"], landed["delay"], landed["landed_at"]) == (False, None, START + timedelta(hours=4))
