"""Jobs of serving: what a judging reads, and scoring a batch into the log."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from loopwright.governance import SERVICE_ACTOR
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.ids import new_ids
from loopwright.serving import Rollout, predictions
from loopwright.serving.jobs import score_ids
from loopwright.store.types import BlobRef

Call = Callable[..., Any]
DAY = 86_400_000_000


@pytest.fixture
def constant(declare: Call, service: Call, blob_store: Any) -> int:
    """A deployment whose champion always answers 0.25, reading a number and a category."""
    declare(rollout=[])
    stored = blob_store.put(b'{"value":0.25}')
    inputs = [{"name": "distance", "kind": "number"}, {"name": "origin", "kind": "category", "categories": ["JFK"]}]
    version = service(
        "registry.register",
        model="late",
        flavour="constant",
        files=[{"path": "constant.json", "digest": stored.digest, "size_bytes": stored.size_bytes}],
        signature={"inputs": inputs, "task": "binary", "classes": ["0", "1"]},
        metrics={},
    )
    service("serving.start_rollout", deployment="late", version=version.version, reason="the first")
    return int(version.version)


def stored_rows(blob_store: Any, tmp_path: Any, frame: pl.DataFrame) -> dict[str, Any]:
    path = tmp_path / "rows.parquet"
    frame.write_parquet(path)
    document: dict[str, Any] = to_builtins(blob_store.put_file(path))
    return document


ROWS = pl.DataFrame(
    {"case": ["a", "b", "c"], "distance": [1, 2, 3], "origin": ["JFK", None, "LGA"], "at": [DAY, 2 * DAY, 3 * DAY]}
)


def test_a_batch_is_answered_and_logged(
    constant: int, call: Call, worker: Any, blob_store: Any, tmp_path: Any, events: Call
) -> None:
    sent = stored_rows(blob_store, tmp_path, ROWS)
    started = call("serving.start_score", deployment="late", input=sent, id_column="case", time_column="at")
    (done,) = worker.run()
    assert (done.job_id, done.state, done.result["rows"]) == (started.job_id, "done", 3)
    answers = pl.read_parquet(blob_store.path(done.result["output"]))
    assert answers.select("row_key", "score").rows() == [("a", 0.25), ("b", 0.25), ("c", 0.25)]
    chunks = worker.call("chunks.find", {"kind": "predictions", "stream": "late"}, "flights")
    logged = predictions.scan(chunks, blob_store).collect()
    assert logged.select("variant", "model_version", "release").unique().rows() == [("score", constant, 1)]
    assert logged["event_at"].to_list() == [DAY, 2 * DAY, 3 * DAY]
    assert logged.select("f.distance", "f.origin").rows() == [(1.0, "JFK"), (2.0, None), (3.0, "LGA")]
    (row,) = predictions.find_prediction(chunks, blob_store, answers["prediction_id"][1])
    assert row["row_key"] == "b"
    assert events()[-2:] == ["serving.score_started", "serving.scored"]


def test_personal_columns_are_not_logged(
    constant: int, declare: Call, call: Call, worker: Any, blob_store: Any, tmp_path: Any
) -> None:
    declare(rollout=[], personal=["origin", "case"])
    call("serving.start_score", deployment="late", input=stored_rows(blob_store, tmp_path, ROWS), id_column="case")
    (done,) = worker.run()
    chunks = worker.call("chunks.find", {"kind": "predictions", "stream": "late"}, "flights")
    logged = predictions.scan(chunks, blob_store).collect()
    assert logged["f.distance"].to_list() == [1.0, 2.0, 3.0]
    assert "f.origin" not in logged.columns
    assert logged["row_key"].null_count() == 3
    assert pl.read_parquet(blob_store.path(done.result["output"]))["row_key"].to_list() == ["a", "b", "c"]


def test_a_batch_that_is_scored_again_after_a_crash_is_logged_once(
    constant: int, call: Call, worker: Any, blob_store: Any, tmp_path: Any
) -> None:
    started = call("serving.start_score", deployment="late", input=stored_rows(blob_store, tmp_path, ROWS))
    assert worker.run_job(started) == worker.run_job(started)
    chunks = worker.call("chunks.find", {"kind": "predictions", "stream": "late"}, "flights")
    assert sum(chunk.rows for chunk in chunks) == 3


def test_missing_columns_are_named(constant: int, call: Call, worker: Any, blob_store: Any, tmp_path: Any) -> None:
    sent = stored_rows(blob_store, tmp_path, ROWS.drop("distance"))
    started = call("serving.start_score", deployment="late", input=sent, id_column="nr")
    with pytest.raises(InvalidInput, match="distance, nr"):
        worker.run_job(started)


def test_scores_of_classes_keep_every_probability(
    declare: Call, service: Call, call: Call, worker: Any, blob_store: Any, tmp_path: Any
) -> None:
    declare(rollout=[], task="multiclass")
    stored = blob_store.put(b'{"value":[0.2,0.7,0.1]}')
    service(
        "registry.register",
        model="late",
        flavour="constant",
        files=[{"path": "constant.json", "digest": stored.digest, "size_bytes": stored.size_bytes}],
        signature={"inputs": [{"name": "distance", "kind": "number"}], "task": "multiclass", "classes": list("abc")},
        metrics={},
    )
    sent = stored_rows(blob_store, tmp_path, ROWS)
    call("serving.start_score", deployment="late", input=sent, version=1)
    (done,) = worker.run()
    answer = pl.read_parquet(blob_store.path(done.result["output"]))["answer"][0]
    assert answer == '{"class":"b","probabilities":{"a":0.2,"b":0.7,"c":0.1}}'


def test_score_ids_are_prediction_ids_that_grow() -> None:
    ids = score_ids("job_1", 1_700_000_000_000_000, 1000)
    assert ids == sorted(set(ids)) == score_ids("job_1", 1_700_000_000_000_000, 1000)
    assert set(ids).isdisjoint(score_ids("job_2", 1_700_000_000_000_000, 1000))


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


def test_a_blob_ref_is_needed(constant: int, call: Call) -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        call("serving.start_score", deployment="late", input=to_builtins(BlobRef("0" * 64, 0)))
