"""Windows from timer to incident, on real chunks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import NotFound
from loopwright.monitoring import Monitor, MonitorSpec, PolicyAnswers
from loopwright.store.types import Streams
from tests.monitoring.conftest import DAY, Log, Worker, make_traffic

Served = Callable[..., Monitor]
Champion = Callable[..., str]
Call = Callable[..., Any]
SPEC = MonitorSpec(DAY, segments=["carrier"], value="25*true_positive - 5*false_positive", unit="USD")


def start(worker: Worker, served: Served, champion: Champion, spec: MonitorSpec = SPEC, **options: Any) -> int:
    """Declare, set the reference and open windows; return the start of the first."""
    served(spec, policy=PolicyAnswers(drift=True))
    champion(**options)
    worker.call("monitoring.open_windows", {"deployment": "late", "start_at": worker.wall.at_us}, "flights")
    return worker.wall.at_us


def events(call: Call, kind: str) -> list[Any]:
    return [event for event in call("audit.list", limit=500) if event.type == f"monitoring.{kind}"][::-1]


def test_a_window_closes_then_settles_with_its_labels(
    worker: Worker, log: Log, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion)
    log.day(begin, make_traffic(900, np.random.default_rng(1)), shadow=True, failed=3)
    worker.advance(begin + DAY)
    [window] = call("monitoring.windows", deployment="late")
    assert (window.state, window.predictions, window.errors) == ("closed", 900, 3)
    assert {one.feature for one in window.drift} == {"distance", "temp", "carrier"}
    assert not any(one.is_drifted for one in window.drift)
    assert window.latency_p99_ms == 1.5
    worker.advance(begin + 2 * DAY)
    window = call("monitoring.window", deployment="late", start_at=begin)
    assert (window.state, window.labels) == ("settled", 900)
    assert [one.variant for one in window.performance] == ["champion", "frozen"]
    assert window.performance[0].value == pytest.approx(window.performance[1].value)
    assert window.performance[0].value_sum is not None
    assert window.span[0].labels == 900
    assert set(window.segments) == {"carrier=AA", "carrier=UA", "carrier=DL", "carrier=B6"}
    assert worker.sealed == 3 * [Streams("flights", ("predictions", "labels"), "late")]


def test_no_row_of_a_caller_keeps_a_window_from_settling(
    worker: Worker, log: Log, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion)
    levels = pl.Series(["A\0A", "b" * 300_000, *["UA"] * 898])
    log.day(begin, make_traffic(900, np.random.default_rng(1)).with_columns(levels.alias("carrier")))
    worker.advance(begin + 2 * DAY)
    window = call("monitoring.window", deployment="late", start_at=begin)
    assert (window.state, window.labels) == ("settled", 900)
    assert window.segments["carrier=A\\x00A"][0].labels == 1


def test_the_span_grows_over_windows(worker: Worker, log: Log, served: Served, champion: Champion, call: Call) -> None:
    begin = start(worker, served, champion, days=2)
    for day in range(3):
        log.day(begin + day * DAY, make_traffic(300, np.random.default_rng(day)), shadow=True)
    worker.advance(begin + 4 * DAY)
    newest = call("monitoring.windows", deployment="late", state="settled", limit=1)[0]
    assert [(one.variant, one.labels, one.predictions) for one in newest.span] == [
        ("champion", 900, 900),
        ("frozen", 900, 900),
    ]
    settled = events(call, "window_settled")
    assert len(settled) == 3
    payload = settled[-1].payload
    assert payload["deployment"] == "late"
    assert payload["span"] == to_builtins(newest.span)
    assert payload["held_out"] == {"roc_auc": 0.76}


def test_lasting_drift_becomes_one_incident_that_heals_by_itself(
    worker: Worker, log: Log, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion)
    for day in range(8):
        shift = 1.0 if 1 <= day <= 3 else 0.0
        log.day(begin + day * DAY, make_traffic(900, np.random.default_rng(day), shift=shift))
    worker.advance(begin + 8 * DAY)
    closed = events(call, "window_closed")
    assert [event.payload["drifted"] for event in closed] == [[], [], ["distance"], ["distance"], [], [], [], []]
    assert [event.payload["beyond"] for event in closed][1] == ["distance"]
    [incident] = call("monitoring.incidents")
    assert (incident.kind, incident.alerts, incident.state) == ("drift", 2, "resolved")
    assert incident.resolution == "3 healthy windows in a row"
    assert incident.resolved_at == begin + 7 * DAY
    assert not incident.needs_person


def test_a_model_that_decays_raises_an_incident_and_a_new_reference_starts_anew(
    worker: Worker, log: Log, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion, days=2)
    for day in range(4):
        log.day(begin + day * DAY, make_traffic(900, np.random.default_rng(day), noise=3.0))
    worker.advance(begin + 4 * DAY)
    [incident] = call("monitoring.incidents", kind="decay")
    assert "held out 0.760" in incident.title
    champion(days=2)
    log.day(begin + 4 * DAY, make_traffic(900, np.random.default_rng(9)))
    worker.advance(begin + 6 * DAY)
    newest = call("monitoring.windows", deployment="late", state="settled", limit=1)[0]
    assert newest.start_at == begin + 4 * DAY
    assert newest.span[0].labels == 900


def test_windows_in_which_nothing_could_be_judged_heal_nothing(
    worker: Worker, log: Log, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion, days=2)

    def pass_days(first: int, last: int, *, rows: int = 900, noise: float = 1.0, is_labelled: bool = True) -> list[Any]:
        for day in range(first, last):
            traffic = make_traffic(rows, np.random.default_rng(day), shift=2.0 * (day < 3), noise=noise)
            at = begin + day * DAY
            log.day(at, traffic) if is_labelled else log.predict(at, traffic)
        worker.advance(begin + last * DAY)
        return [one.state for one in call("monitoring.incidents")]

    assert pass_days(0, 3, noise=3.0) == ["open", "open"]
    champion(days=2)  # another version serves, and nothing is known of it yet
    assert pass_days(3, 7, rows=60, is_labelled=False) == ["open", "open"]
    assert pass_days(7, 10) == ["open", "open"]
    assert pass_days(10, 13) == ["resolved", "resolved"]


def test_drift_can_be_measured_over_several_windows(
    worker: Worker, log: Log, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion, MonitorSpec(DAY, over_us=3 * DAY, persist=1), days=2)
    for day in range(4):
        log.day(begin + day * DAY, make_traffic(300, np.random.default_rng(day)))
    worker.advance(begin + 4 * DAY)
    found = call("monitoring.windows", deployment="late")
    assert [window.drift[0].rows for window in found[:2]] == [900, 900]
    assert [window.drift for window in found[2:]] == [[], []]  # no whole stretch had passed yet


def test_an_empty_window_is_stored_and_judges_nothing(
    worker: Worker, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion, days=2)
    worker.advance(begin + 2 * DAY)
    found = call("monitoring.windows", deployment="late")
    assert [(window.predictions, window.drift) for window in found] == [(0, []), (0, [])]
    assert call("monitoring.incidents") == []


def test_closing_and_finishing_twice_is_once(
    worker: Worker, log: Log, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion, days=2)
    log.day(begin, make_traffic(300, np.random.default_rng(0), shift=2.0))
    args = {"deployment": "late", "start_at": begin, "end_at": begin + DAY}
    worker.wall.at_us = begin + DAY
    for _ in range(2):
        worker.call("monitoring.close_window", args, "flights")
    assert len(worker.run()) == 1
    stored = call("monitoring.window", deployment="late", start_at=begin)
    worker.call("monitoring.finish_window", {"window": to_builtins(stored)}, "flights")
    assert len(events(call, "window_closed")) == 1
    assert events(call, "window_restated") == []
    worker.advance(begin + 2 * DAY)
    settled = call("monitoring.window", deployment="late", start_at=begin)
    again = worker.call("monitoring.finish_window", {"window": to_builtins(stored)}, "flights")
    assert again == settled


def test_an_unknown_window_is_said_to_be_so(served: Served, call: Call) -> None:
    served(SPEC)
    with pytest.raises(NotFound, match="no such window"):
        call("monitoring.window", deployment="late", start_at=0)


def test_the_window_in_which_an_endpoint_was_retired_is_its_last(
    worker: Worker, log: Log, served: Served, champion: Champion, call: Call
) -> None:
    begin = start(worker, served, champion)
    log.day(begin, make_traffic(300, np.random.default_rng(1)))
    worker.advance(begin + DAY // 2)
    worker.call("serving.release", {"deployment": "late", "champion": 1, "reason": "the first"}, "flights")
    worker.call("serving.retire", {"deployment": "late", "reason": "the desk is closed"}, "flights")
    worker.advance(begin + 5 * DAY)
    assert [(one.start_at, one.state) for one in call("monitoring.windows", deployment="late")] == [(begin, "settled")]
    assert call("monitoring.get", deployment="late").next_at is None
    worker.call("monitoring.open_windows", {"deployment": "late", "start_at": worker.wall.at_us}, "flights")
    assert call("monitoring.get", deployment="late").next_at == begin + 5 * DAY
