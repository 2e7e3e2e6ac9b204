"""Jobs that read the prediction log back; the audit of real rows: tests/flows/test_loop.py."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import InvalidInput
from tests.loop.answering import answer
from tests.loop.conftest import Loop
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
    monkeypatch.setattr("loopwright.loop.retention._pins_of_deployment", lambda _tx, _name: iter(()))
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
