"""Models that run elsewhere: ranges of history, late labels, reports."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.errors import InvalidInput
from loopwright.monitoring import FeatureDrift, Monitor, MonitorSpec, Performance, Report, Window
from loopwright.monitoring.ranges import parse_period
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx
from loopwright.store.types import Removal
from tests.monitoring.conftest import DAY, Log, Worker, make_traffic

Call = Callable[..., Any]


@pytest.fixture
def october(worker: Worker, served: Callable[..., Monitor]) -> Log:
    """Ten days of October 2012 of an external deployment, logged months later; the second half has drifted."""
    served(MonitorSpec(DAY, label_lag_us=30 * DAY), is_external=True)
    log = Log(worker, "scorecard", "external")
    begin, _ = parse_period("2012-10")
    rows = make_traffic(9_000, np.random.default_rng(5))
    path = worker.state_dir / "train.parquet"
    rows.write_parquet(path)
    stored = worker.blobs.put_file(path)
    args = {
        "deployment": "scorecard",
        "blob": {"digest": stored.digest, "size_bytes": stored.size_bytes},
        "columns": ["distance", "temp", "carrier"],
        "score": "score",
    }
    worker.call("monitoring.start_reference", args, "flights")
    worker.run()
    for day in range(10):
        traffic = make_traffic(300, np.random.default_rng(day), shift=2.0 if day > 4 else 0.0)
        ids = log.predict(begin + day * DAY, traffic)
        log.label(ids, traffic["label"], begin + 60 * DAY)
    return log


def test_a_range_is_measured_in_order_and_reported(october: Log, call: Call) -> None:
    call("monitoring.evaluate_range", deployment="scorecard", start_at="2012-10-01", end_at="2012-10-11")
    assert [job.result for job in october.worker.run()] == [{"windows": 10}]
    report = call("monitoring.report", deployment="scorecard", period="2012-10")
    assert [window.predictions for window in report.windows] == [300] * 10
    assert [any(one.is_drifted for one in window.drift) for window in report.windows] == [False] * 6 + [True] * 4
    assert {one.feature for one in report.windows[0].drift} == {"distance", "temp", "carrier", "(score)"}
    assert report.windows[-1].performance[0].variant == "external"
    [incident] = report.incidents
    assert (incident.kind, incident.alerts, incident.needs_person) == ("drift", 4, True)
    table = str(report)
    assert "2012-10-07" in table
    assert "distance" in table
    assert "roc_auc 0." in table


def test_late_labels_restate_windows_without_new_alerts(october: Log, call: Call) -> None:
    args = {"deployment": "scorecard", "start_at": "2012-10-01", "end_at": "2012-10-11"}
    call("monitoring.evaluate_range", **args)
    october.worker.run()
    before = call("monitoring.report", deployment="scorecard", period="2012-10")
    begin, _ = parse_period("2012-10")
    traffic = make_traffic(50, np.random.default_rng(77))
    october.label(october.predict(begin, traffic), traffic["label"], begin + 70 * DAY)
    call("monitoring.evaluate_range", **args)
    october.worker.run()
    after = call("monitoring.report", deployment="scorecard", period="2012-10")
    assert (before.windows[0].predictions, after.windows[0].predictions) == (300, 350)
    assert after.windows[0].labels == 350
    assert after.incidents == before.incidents


def test_a_range_must_be_one(october: Log, call: Call) -> None:
    for start_at, end_at in (("2012-10-02", "2012-10-01"), ("1990-01-01", "2012-10-01")):
        with pytest.raises(InvalidInput, match="cannot be measured"):
            call("monitoring.evaluate_range", deployment="scorecard", start_at=start_at, end_at=end_at)


def test_periods() -> None:
    assert parse_period("1970-01-02") == (DAY, 2 * DAY)
    assert parse_period("1970") == (0, 365 * DAY)
    assert parse_period("1971-12")[1] == 2 * 365 * DAY
    for text in ("october", "2012-13", "2012-1"):
        with pytest.raises(InvalidInput, match="not a period"):
            parse_period(text)


def test_a_report_without_windows_says_so(october: Log, call: Call) -> None:
    assert "no windows yet" in str(call("monitoring.report", deployment="scorecard", period="2011"))


def test_what_comes_months_after_its_windows_closed_is_judged_still(
    worker: Worker, served: Callable[..., Monitor], call: Call
) -> None:
    served(MonitorSpec(DAY, label_lag_us=DAY, persist=1), is_external=True)
    log, (begin, _) = Log(worker, "scorecard", "external"), parse_period("2012-10")
    args = {"deployment": "scorecard", "start_at": "2012-10-01", "end_at": "2012-10-03"}

    def measure() -> Any:
        call("monitoring.evaluate_range", **args)
        worker.run()
        return call("monitoring.report", deployment="scorecard", period="2012-10")

    assert [window.predictions for window in measure().windows] == [0, 0]
    made = [make_traffic(300, np.random.default_rng(day), shift=2.0) for day in range(2)]
    ids = [log.predict(begin + day * DAY, traffic) for day, traffic in enumerate(made)]
    assert measure().incidents == []  # there is nothing to compare with yet
    path = worker.state_dir / "train.parquet"
    make_traffic(9_000, np.random.default_rng(5)).write_parquet(path)
    stored = worker.blobs.put_file(path)
    reference = {
        "deployment": "scorecard",
        "blob": {"digest": stored.digest, "size_bytes": stored.size_bytes},
        "columns": ["distance", "temp", "carrier"],
        "metrics": {"roc_auc": 0.99},
    }
    worker.call("monitoring.start_reference", reference, "flights")
    worker.run()
    assert [one.kind for one in measure().incidents] == ["drift"]
    for day in range(2):
        log.label(ids[day], made[day]["label"], begin + 60 * DAY)
    report = measure()
    assert sorted(one.kind for one in report.incidents) == ["decay", "drift"]
    again = measure()
    assert [one.alerts for one in again.incidents] == [one.alerts for one in report.incidents]


def test_windows_whose_rows_were_removed_keep_their_figures(october: Log, call: Call, dispatcher: Dispatcher) -> None:
    args = {"deployment": "scorecard", "start_at": "2012-10-01", "end_at": "2012-10-11"}
    call("monitoring.evaluate_range", **args)
    october.worker.run()
    before = call("monitoring.report", deployment="scorecard", period="2012-10").windows
    begin, _ = parse_period("2012-10")

    def remove(tx: Tx) -> None:
        old = store_sql.find_chunks(
            tx.connection, tx.project, "predictions", stream="scorecard", end_at=begin + 3 * DAY
        )
        bounds = (old[0].event_at_min, begin + 3 * DAY, old[0].id_first, old[-1].id_last)
        gone = Removal("rem_1", "predictions", "scorecard", len(old), 900, 1, *bounds, tx.wall_us)
        store_sql.remove_chunks(tx, gone, [chunk.chunk_id for chunk in old])

    dispatcher.write("flights", SERVICE_ACTOR, remove)
    call("monitoring.evaluate_range", **args)
    assert [job.result for job in october.worker.run()] == [{"windows": 7, "removed_by_retention": 3}]
    after = call("monitoring.report", deployment="scorecard", period="2012-10").windows
    assert [window.predictions for window in after] == [window.predictions for window in before] == [300] * 10


@pytest.mark.parametrize(("every", "at"), [(DAY, "1970-01-02  "), (DAY // 4, "1970-01-01 06:00  ")])
def test_a_printed_report_parts_its_columns_and_tells_windows_of_hours(every: int, at: str) -> None:
    quality = [Performance("champion", "average_precision", 0.753, 0.677, 0.829, predictions=9, labels=9)]
    drift = [FeatureDrift("tenure_months", 1.0, 0.0, 0.0, 900, True, 0.2)]
    start_at = every
    counts = (900, 900, 0, 5.0, drift, quality, quality, {}, "", start_at + every)
    report = Report("late", 0, 9 * DAY, [Window("late", start_at, start_at + every, "settled", *counts)], [])
    _, head, line = str(report).splitlines()
    assert line.startswith(at)
    assert "(0.677 to 0.829)  tenure_months" in line
    assert head.index("drifted") == line.index("tenure_months")
