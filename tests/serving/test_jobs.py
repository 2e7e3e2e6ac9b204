"""Jobs of serving: what a judging reads."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import SERVICE_ACTOR
from loopwright.kernel.ids import new_ids
from loopwright.serving import Rollout

Call = Callable[..., Any]
DAY = 86_400_000_000


def test_only_rows_of_the_step_count(candidate: Rollout, log: Any, pass_time: Call, worker: Any, call: Call) -> None:
    start = candidate.step_started_at
    log.predict(1, start, start + DAY, 500, candidate=0.05)
    log.predict(2, start, start + DAY, 300, candidate=0.05, seed=2)
    log.predict(2, start - DAY, start, 400, candidate=0.05, seed=3)
    pass_time(start + 7 * DAY)
    judged = call("serving.get_rollout", rollout_id=candidate.rollout_id)
    assert judged.verdicts[0].rows == 300
    assert len(worker.sealed) == 1


def test_a_look_opens_no_labels_of_predictions_before_its_step(
    candidate: Rollout, log: Any, pass_time: Call, worker: Any, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a year of predictions, whose labels come while the step runs, none is judged."""
    start = candidate.step_started_at
    before = new_ids("pred", 20, start - 365 * DAY)
    for name in before:
        log.label([name], [1.0], [start + DAY])
    log.predict(2, start, start + DAY, 300, candidate=0.05)
    labels = {each.digest for each in worker.call("chunks.find", {"kind": "labels", "stream": "late"}, "flights")}
    opened: list[str] = []
    find = type(worker.blobs).path
    monkeypatch.setattr(type(worker.blobs), "path", lambda blobs, digest: opened.append(digest) or find(blobs, digest))
    pass_time(start + 7 * DAY)
    judged = call("serving.get_rollout", rollout_id=candidate.rollout_id)
    assert judged.verdicts[0].rows == 300
    assert (len(labels), len(labels.intersection(opened))) == (21, 1)


def test_judging_twice_after_a_crash_is_once(
    candidate: Rollout, log: Any, service: Call, worker: Any, wall: Any, events: Call, dispatcher: Any
) -> None:
    log.predict(2, candidate.step_started_at, candidate.step_started_at + 6 * DAY, 1000, candidate=0.05)
    wall.at_us = candidate.step_started_at + 7 * DAY
    service("serving.judge_step", rollout_id=candidate.rollout_id, step=0)
    (job,) = dispatcher.call("jobs.list", {"states": ["queued"]}, actor=SERVICE_ACTOR, project="flights")
    first = worker.run_job(job)
    before = events(60)
    assert worker.run_job(job) == first
    assert events(60) == before
