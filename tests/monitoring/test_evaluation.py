"""Evaluating a window: what is kept, what is read again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from loopwright.kernel.ids import encode_ulid
from loopwright.monitoring import Monitor, MonitorSpec, build_reference
from loopwright.monitoring.evaluation import evaluate, measure_drift
from loopwright.monitoring.tallies import build_window_profile
from loopwright.monitoring.types import WindowTask
from loopwright.serving import predictions
from tests.monitoring.conftest import DAY, Log, Worker, make_traffic


def task(worker: Worker, begin: int, state: str) -> WindowTask:
    named = {"deployment": "late", "start_at": begin, "end_at": begin + DAY, "state": state}
    found: WindowTask = worker.call("monitoring.window_task", named, "flights")
    return found


def test_settling_keeps_drift_unless_predictions_came_late(
    worker: Worker, log: Log, served: Callable[..., Monitor], champion: Callable[..., str]
) -> None:
    served(MonitorSpec(DAY))
    champion(days=2)
    begin = worker.wall.at_us
    log.predict(begin, make_traffic(300, np.random.default_rng(0)))
    worker.advance(begin + DAY)
    worker.call("monitoring.close_window", {"deployment": "late", "start_at": begin, "end_at": begin + DAY}, "flights")
    worker.run()
    champion(days=3)
    settled, blobs = evaluate(task(worker, begin, "settled"), worker.blobs)
    known = worker.call("monitoring.window", {"deployment": "late", "start_at": begin}, "flights")
    assert (settled.drift, settled.reference, settled.model_version) == (known.drift, known.reference, 1)
    assert blobs == []
    log.predict(begin, make_traffic(50, np.random.default_rng(1)))
    again, _ = evaluate(task(worker, begin, "settled"), worker.blobs)
    assert (again.predictions, again.model_version) == (350, 2)


def test_a_prediction_sent_again_is_counted_once(
    worker: Worker, log: Log, served: Callable[..., Monitor], champion: Callable[..., str], monkeypatch: Any
) -> None:
    served(MonitorSpec(DAY))
    champion(days=2)
    traffic = make_traffic(300, np.random.default_rng(0))
    ids = log.predict(worker.wall.at_us, traffic)
    monkeypatch.setattr("tests.monitoring.conftest.new_ids", lambda *_: ids)
    log.predict(worker.wall.at_us, traffic)
    window, _ = evaluate(task(worker, worker.wall.at_us, "closed"), worker.blobs)
    assert window.predictions == 300


def test_rows_scored_in_a_batch_say_nothing_of_what_is_served(
    worker: Worker, log: Log, served: Callable[..., Monitor], champion: Callable[..., str]
) -> None:
    served(MonitorSpec(DAY, segments=["carrier"]))
    champion(days=2)
    begin, rng = worker.wall.at_us, np.random.default_rng(0)
    log.day(begin, make_traffic(900, rng))
    worker.wall.at_us = begin + 2 * DAY
    alone, _ = evaluate(task(worker, begin, "settled"), worker.blobs)
    batch = Log(worker, variant=predictions.SCORED, seq=10)
    batch.day(begin, make_traffic(900, rng, shift=3.0, noise=50.0), failed=90)
    beside, _ = evaluate(task(worker, begin, "settled"), worker.blobs)
    assert beside == alone
    assert [one.variant for one in beside.performance] == ["champion"]


def test_ignored_columns_and_the_clocks_own_are_no_drift() -> None:
    hours = pl.DataFrame({"event_at": np.arange(2_000) * 3_600_000_000})
    frame = hours.with_columns(hour=(pl.col("event_at") // 3_600_000_000) % 24, x=pl.lit(1.0), y=pl.lit(2.0))
    reference = build_reference(frame, ["hour", "x", "y"])
    rows = frame.head(200).select(pl.lit(0.5).alias("score"), pl.all().name.prefix("f."))
    profile = build_window_profile(rows, reference)
    found = measure_drift(reference, profile, MonitorSpec(DAY, ignore=["y"]))
    assert [one.feature for one in found] == ["x"]


def test_what_is_usual_counts_only_for_the_same_measure() -> None:
    rng = np.random.default_rng(0)
    daily = np.repeat(rng.normal(0, 5, 30), 200)
    frame = pl.DataFrame({"event_at": np.arange(6_000) * (DAY // 200), "temp": daily + rng.normal(size=6_000)})
    reference = build_reference(frame, ["temp"])
    rows = frame.tail(200).select(pl.lit(0.5).alias("score"), pl.all().name.prefix("f."))
    profile = build_window_profile(rows, reference)
    for spec, is_usual in (
        (MonitorSpec(DAY), True),
        (MonitorSpec(DAY, usual=False), False),
        (MonitorSpec(2 * DAY), False),
        (MonitorSpec(DAY, drift="js"), False),
    ):
        [one] = measure_drift(reference, profile, spec)
        assert (one.above > 0.2) is is_usual


def test_a_window_lists_the_labels_of_its_own_predictions_whenever_they_came(
    worker: Worker, log: Log, served: Callable[..., Monitor], champion: Callable[..., str]
) -> None:
    """Thirty days of labels came since: those of its day, one chunk that is late by weeks and one that was early."""
    served(MonitorSpec(DAY))
    champion(days=2)
    begin, rng = worker.wall.at_us, np.random.default_rng(0)
    traffic = make_traffic(30, rng)
    ids = log.predict(begin, traffic)
    log.label(ids[:10], traffic["label"][:10], begin + DAY)
    log.label(ids[10:20], traffic["label"][10:20], begin + 25 * DAY)
    log.label(ids[20:25], traffic["label"][20:25], begin - 1)  # by a clock that is slow
    log.label(ids[:1], [1.0 - traffic["label"][0]], begin + 28 * DAY)  # corrected
    for day in range(1, 30):
        log.day(begin + day * DAY, make_traffic(10, rng))
    found = task(worker, begin, "settled")
    assert len(found.labels) == 4
    window, _ = evaluate(found, worker.blobs)
    assert (window.predictions, window.labels) == (30, 25)
    labels = predictions.latest_labels(found.labels, worker.blobs).collect()
    assert labels.filter(pl.col("prediction_id") == ids[0])["label"].to_list() == [1.0 - traffic["label"][0]]
    assert len(task(worker, begin + 5 * DAY, "settled").labels) == 1


def test_a_batch_that_is_scored_a_month_later_makes_a_window_list_no_month_of_labels(
    worker: Worker, log: Log, served: Callable[..., Monitor], champion: Callable[..., str], monkeypatch: Any
) -> None:
    served(MonitorSpec(DAY))
    champion(days=2)
    begin, rng = worker.wall.at_us, np.random.default_rng(0)
    for day in range(30):
        log.day(begin + day * DAY, make_traffic(10, rng))
    ids = [f"pred_{encode_ulid((begin + 40 * DAY) // 1000 + 50_000 << 80 | number)}" for number in range(10)]
    monkeypatch.setattr("tests.monitoring.conftest.new_ids", lambda prefix, *_: ids if prefix == "pred" else ids[::-1])
    Log(worker, variant=predictions.SCORED, seq=100).day(begin, make_traffic(10, rng))
    assert len(task(worker, begin, "settled").labels) == 2
