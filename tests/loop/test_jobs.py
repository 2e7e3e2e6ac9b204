"""Jobs that read the prediction log back; the audit of real rows: tests/flows/test_loop.py."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.serving import DeploymentSpec
from tests.loop.answering import answer, label
from tests.loop.conftest import LATE, Loop
from tests.loop.crashing import Worker


def test_an_export_has_each_prediction_once_as_it_was_recorded_last(serving: Loop, tmp_path: Path) -> None:
    at = serving.wall.at_us
    for seq, (number, score, recorded_at) in enumerate(
        [(1, 0.1, at), (2, 0.3, at + 5), (2, 0.2, at), (2, 0.3, at + 5)]
    ):
        answer(serving, number, writer=f"gateway-{seq}", score=score, recorded_at=recorded_at)
    answer(serving, 2, writer="gateway-9", variant="frozen", is_shadow=True, score=0.9)
    worker = Worker(serving, tmp_path)
    for features in (False, True):
        args = {"deployment": "late", "start_at": at, "end_at": at + 1, "features": features}
        done = worker.do(serving("loop.start_export", **args))
        log = pl.read_parquet(serving.blobs.path(done["digest"])).sort("prediction_id", "variant")
        rows = log.select("prediction_id", "variant", "score").rows()
        expected = [("pred_001", "champion", 0.1), ("pred_002", "champion", 0.3), ("pred_002", "frozen", 0.9)]
        assert (rows, done["rows"]) == (expected, 3)


def test_an_export_opens_the_labels_of_its_own_predictions_alone(
    serving: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = serving.wall.at_us
    for number in range(20):
        answer(serving, number, event_at=at + number)
        label(serving, number, 1.0, event_at=at + 30 * DAY_US + number)
    label(serving, 3, 0.0, event_at=at + 90 * DAY_US)  # corrected
    opened: list[str] = []
    find = type(serving.blobs).path
    monkeypatch.setattr(type(serving.blobs), "path", lambda blobs, digest: opened.append(digest) or find(blobs, digest))
    done: Any = Worker(serving, tmp_path).do(
        serving("loop.start_export", deployment="late", start_at=at + 3, end_at=at + 5, features=False)
    )
    read = set(opened)
    rows = pl.read_parquet(serving.blobs.path(done["digest"])).sort("prediction_id")
    assert rows.select("prediction_id", "label").rows() == [("pred_003", 0.0), ("pred_004", 1.0)]
    assert len(read) == 2 + 3


def test_the_audit_leaves_out_what_was_scored_in_a_batch(serving: Loop, tmp_path: Path) -> None:
    answer(serving, 1, variant="score")
    task = serving("loop.start_skew_audit", deployment="late")
    worker: Any = Worker(serving, tmp_path)
    found: Any = worker.do(task)
    assert found["rows"] == 0
    answer(serving, 2)
    with pytest.raises(InvalidInput, match="looks no features up"):
        worker.do(task)


def test_an_export_says_what_retention_removed(serving: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopwright.loop.housekeeping.retention._pins_of_deployment", lambda _tx, _name: iter(()))
    at = serving.wall.at_us
    answer(serving, 1)
    serving.wall.at_us += 10 * DAY_US
    answer(serving, 2)
    serving("retention.set", kind="predictions", keep="5d")
    serving("retention.apply")
    worker: Any = Worker(serving, tmp_path)
    args = {"deployment": "late", "features": False}
    done = worker.do(serving("loop.start_export", start_at=at, end_at=at + 20 * DAY_US, **args))
    assert done["rows"] == 1
    [removed] = done["removed"]
    assert removed.startswith("1 predictions of late, 2013-")
    assert "removed by retention on 2013-" in removed
    done = worker.do(serving("loop.start_export", start_at=at + DAY_US, end_at=at + 20 * DAY_US, **args))
    assert done["removed"] == []


def test_a_closing_table_tells_of_any_deployment_by_the_months_of_a_zone(serving: Loop, tmp_path: Path) -> None:
    for number in range(3):
        answer(serving, number)  # at midnight UTC, on the first of March
    at = serving.wall.at_us
    asked = {"deployment": "late", "start_at": at, "end_at": at + DAY_US, "zone": "America/New_York"}
    made: Any = Worker(serving, tmp_path).do(serving("loop.start_closing_table", **asked, rows="flights", short="auc"))
    table = made["table"]
    [month] = table["months"]
    assert (month["month"], month["flights"], month["auc_served"]) == ("2013-02", 3, None)
    assert (table["predictions"], table["labels"], table["metric"]) == (3, 0, "roc_auc")
    assert (table["skew_rows_checked"], table["skew_rows_unequal"]) == (0, 0)  # no feature was looked up
    with pytest.raises(NotFound, match=r"no deployment is named early; .*declared: late"):
        serving("loop.start_closing_table", **{**asked, "deployment": "early"})


def test_a_closing_table_of_a_stretch_without_predictions_has_no_month(serving: Loop, tmp_path: Path) -> None:
    asked = {"deployment": "late", "start_at": 0, "end_at": DAY_US}
    made: Any = Worker(serving, tmp_path).do(serving("loop.start_closing_table", **asked))
    assert (made["table"]["months"], made["table"]["mean_roc_auc_served"]) == ([], None)


def test_a_closing_table_of_a_model_that_is_served_elsewhere_compares_no_features(
    serving: Loop, tmp_path: Path
) -> None:
    elsewhere = DeploymentSpec("scorecard", "scorecard", "binary", is_external=True)
    serving.apply(deployments=[LATE, elsewhere])
    at = serving.wall.at_us
    answer(serving, 1, stream="scorecard", release=0, model_version=0)
    asked = {"deployment": "scorecard", "start_at": at, "end_at": at + DAY_US}
    made: Any = Worker(serving, tmp_path).do(serving("loop.start_closing_table", **asked))
    assert (made["table"]["predictions"], made["table"]["skew_rows_checked"]) == (1, 0)
