"""Streams and requests: what is sent in which hour."""

from datetime import UTC, datetime, timedelta

import polars as pl

from loopwright.kernel.clock import HOUR_US, parse_moment
from loopwright.loop import Requests, Stream

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = parse_moment(START)
HOURS = [START + timedelta(hours=hour) for hour in (2, 0, 1)]


def test_a_stream_sends_rows_when_they_are_known() -> None:
    stream = Stream("trips", pl.DataFrame({"row": [2, 0, 1], "known_at": HOURS}), "known_at")
    assert stream.between(START_US, START_US + HOUR_US).to_dicts() == [{"row": 1}]
    assert stream.between(START_US - 1, START_US + 2 * HOUR_US)["row"].to_list() == [0, 1, 2]
    assert stream.between(START_US + 2 * HOUR_US, START_US + 9 * HOUR_US).is_empty()


def test_requests_keep_their_outcomes_back() -> None:
    rows = pl.DataFrame(
        {"row": [2, 0, 1], "at": HOURS, "late": [True, None, False], "landed": [HOURS[0], None, HOURS[0]]}
    )
    requests = Requests(rows, event_at="at", label="late", label_at="landed")
    asked, outcomes = requests.between(START_US, START_US + 2 * HOUR_US)
    assert asked == [{"row": 0, "at": START_US}, {"row": 1, "at": START_US + HOUR_US}]
    assert outcomes == [(None, None), (False, START_US + 2 * HOUR_US)]
