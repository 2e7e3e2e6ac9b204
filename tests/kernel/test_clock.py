"""Moments and durations as users write them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.clock import (
    DAY_US,
    FixedClock,
    SteadyClock,
    WallClock,
    check_span,
    format_duration,
    format_moment,
    parse_duration,
    parse_moment,
)
from loopwright.kernel.errors import InvalidInput


@given(st.integers(0, 1000 * 365 * DAY_US))
def test_a_duration_reads_back_exactly(duration_us: int) -> None:
    assert parse_duration(format_duration(duration_us)) == duration_us


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=9))])))
def test_a_moment_reads_back_exactly(moment: datetime) -> None:
    try:
        at_us = parse_moment(moment)
    except InvalidInput:  # the zone led out of the years 1 to 9999
        return
    assert parse_moment(format_moment(at_us)) == at_us
    assert parse_moment(moment.isoformat()) == at_us


def test_a_date_is_its_first_moment_in_utc() -> None:
    assert (
        parse_moment("2013-03-01") == parse_moment("2013-03-01T00:00:00Z") == parse_moment("2013-02-28T19:00:00-05:00")
    )


def test_a_local_time_is_that_of_its_zone_unless_clocks_skipped_it() -> None:
    assert parse_moment("2024-03-10", zone="America/New_York") == parse_moment("2024-03-10T05:00:00Z")
    assert parse_moment("2024-07-01 12:00", zone="America/New_York") == parse_moment("2024-07-01T16:00:00Z")
    assert parse_moment("2024-07-01T12:00Z", zone="America/New_York") == parse_moment("2024-07-01T12:00:00Z")
    assert parse_moment("2024-11-03T01:30", zone="America/New_York") == parse_moment("2024-11-03T05:30:00Z")
    for text in ("2024-03-10T02:30", "11/03/2024", "garbage"):
        with pytest.raises(InvalidInput) as refused:
            parse_moment(text, "to", zone="America/New_York")
        assert refused.value.field == "to"


@pytest.mark.parametrize("text", ["", "7", "d", "-3h", "3.5h", "3 h", "٣h", "3H", "9" * 18 + "w", "1e3s", "2000000d"])
def test_what_is_no_duration_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_duration(text, "window")
    assert refused.value.field == "window"


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "2013-13-01", "2013-03-01T00:00:00", datetime(2013, 3, 1), 2**63, -(2**63)],  # noqa: DTZ001
)
def test_what_is_no_moment_is_refused_by_its_field(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_moment(value, "to")
    assert refused.value.field == "to"


def test_clocks() -> None:
    fixed = FixedClock(5)
    fixed.at_us += 1
    assert fixed.now_us() == 6
    assert WallClock().now_us() > parse_moment("2024-01-01")
    steady = SteadyClock()
    assert 0 < steady.now_us() <= steady.now_us()


@pytest.mark.parametrize(
    ("start_at", "end_at", "field"), [(5, 5, "end_at"), (6, 5, "end_at"), (-(2**62), 5, "start_at")]
)
def test_a_stretch_that_holds_nothing_is_refused(start_at: int, end_at: int, field: str) -> None:
    check_span(5, 6)
    with pytest.raises(InvalidInput) as refused:
        check_span(start_at, end_at)
    assert refused.value.field == field
