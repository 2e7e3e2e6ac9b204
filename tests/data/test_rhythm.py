"""Rhythm: a feed is held to its own past, and to nothing where it has none."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.data import late_feeds
from loopwright.data.rhythm import NEWEST_GAPS, longest_usual_gap
from loopwright.governance import LOCAL_ACTOR, Dispatcher
from loopwright.kernel.clock import HOUR_US, FixedClock
from tests.data.conftest import weather, weather_spec

Call = Callable[..., Any]


def test_only_the_newest_versions_make_the_rhythm(
    call: Call, import_rows: Callable[..., Any], dispatcher: Dispatcher, wall: FixedClock
) -> None:
    call("data.declare", spec=weather_spec())
    pauses = [100, *[2] * NEWEST_GAPS]
    for day, pause in enumerate(pauses):
        wall.at_us += pause * HOUR_US
        import_rows("weather", weather(day + 1))
    wall.at_us += 4 * HOUR_US
    assert dispatcher.read("flights", LOCAL_ACTOR, late_feeds) == []
    wall.at_us += 1
    [late] = dispatcher.read("flights", LOCAL_ACTOR, late_feeds)
    assert (late.dataset, late.newest_at, late.usual_us) == ("weather", wall.at_us - 4 * HOUR_US - 1, 2 * HOUR_US)


def test_a_feed_that_stopped_is_late_whatever_is_restored(
    call: Call, import_rows: Callable[..., Any], dispatcher: Dispatcher, wall: FixedClock
) -> None:
    call("data.declare", spec=weather_spec())
    for day in range(1, 9):
        wall.at_us += HOUR_US
        import_rows("weather", weather(day))
    wall.at_us += 3 * HOUR_US
    call("data.restore", dataset="weather", version=7, reason="the last day was a hoax")
    [late] = dispatcher.read("flights", LOCAL_ACTOR, late_feeds)
    assert late.newest_at == wall.at_us - 3 * HOUR_US


@pytest.mark.parametrize("moments", [[], [1], [5, 4, 3, 2, 1], [9, 9, 9, 9, 9, 9]])
def test_few_versions_or_all_at_once_make_no_rhythm(moments: list[int]) -> None:
    assert longest_usual_gap(moments) is None


@given(st.lists(st.integers(1, 1000), min_size=5, max_size=20), st.integers(0, 10**15))
def test_the_longest_gap_of_an_even_feed_is_its_measure(gaps: list[int], start: int) -> None:
    moments = [start]
    for gap in gaps:
        moments.append(moments[-1] + gap)
    found = longest_usual_gap(moments[::-1])
    assert found is None or found == max(gaps)
    assert longest_usual_gap([at * 7 for at in moments[::-1]]) == (None if found is None else found * 7)
