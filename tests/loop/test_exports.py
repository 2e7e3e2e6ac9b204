"""Reading the loop's own records back: what is asked for must be able to hold something."""

from typing import Any

import pytest

from loopwright.kernel.clock import format_moment
from loopwright.kernel.errors import InvalidInput, TooBusy
from loopwright.store.jobs import MOST_WAITING
from tests.loop.conftest import Loop


@pytest.mark.parametrize("verb", ["loop.start_export", "loop.start_skew_audit", "loop.start_closing_table"])
def test_an_empty_stretch_starts_no_job(loop: Loop, verb: str) -> None:
    for span in ({"start_at": 7, "end_at": 7}, {"start_at": 7, "end_at": 6}, {"start_at": 7, "end_at": 2**62}):
        with pytest.raises(InvalidInput, match="field: end_at"):
            loop(verb, deployment="late", **span)
    assert loop("jobs.list") == []


@pytest.mark.parametrize("verb", ["loop.start_export", "loop.start_skew_audit", "loop.start_closing_table"])
def test_a_stretch_is_named_by_its_days(loop: Loop, verb: str) -> None:
    by_days = loop(verb, deployment="late", start_at="2013-03-01", end_at="2013-04-01T00:00:00Z").args
    in_us = loop(verb, deployment="late", start_at=1_362_096_000_000_000, end_at=1_364_774_400_000_000).args
    assert by_days == in_us
    with pytest.raises(InvalidInput, match="field: start_at"):
        loop(verb, deployment="late", start_at="March", end_at="2013-04-01")


def test_what_waits_is_not_queued_again_and_only_so_much_waits(loop: Loop) -> None:
    """A viewer asks for these: whoever asked for thousands would keep everybody's jobs waiting."""
    first = loop("loop.start_export", deployment="late", start_at=0, end_at=1)
    assert loop("loop.start_export", deployment="late", start_at=0, end_at=1).job_id == first.job_id
    for end_at in range(2, MOST_WAITING + 1):
        loop("loop.start_export", deployment="late", start_at=0, end_at=end_at)
    with pytest.raises(TooBusy, match="wait in the project"):
        loop("loop.start_export", deployment="late", start_at=0, end_at=MOST_WAITING + 1)
    assert loop("loop.start_export", deployment="late", start_at=0, end_at=1).job_id == first.job_id
    loop("jobs.cancel", job_id=first.job_id)
    assert loop("loop.start_export", deployment="late", start_at=0, end_at=1).job_id != first.job_id


def test_windows_and_reports_are_asked_for_by_days(serving: Loop) -> None:
    serving.window()
    [only] = serving("monitoring.windows", deployment="late")
    day = format_moment(only.start_at)
    later = format_moment(only.end_at)
    assert serving("monitoring.windows", deployment="late", start_at=day, end_at=later) == [only]
    assert serving("monitoring.windows", deployment="late", start_at=later) == []
    assert serving("monitoring.report", deployment="late", start_at=day, end_at=later).windows == [only]


def test_an_audit_of_less_than_no_rows_starts_no_job(loop: Loop) -> None:
    args: dict[str, Any] = {"deployment": "late", "rows": -1}
    with pytest.raises(InvalidInput, match="field: rows"):
        loop("loop.start_skew_audit", **args)
