"""A prediction is computed again by the version that answered, from what the log holds of the request."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.loop.recompute import recompute
from loopwright.pipelines import ChildPool
from loopwright.registry import InputColumn, ModelFile, Signature
from loopwright.serving import predictions
from loopwright.store.chunks import describe_chunk
from tests.loop.conftest import Loop
from tests.loop.crashing import Worker

pytestmark = pytest.mark.slow
INPUTS = [InputColumn("distance", "number"), InputColumn("is_urgent", "boolean"), InputColumn("carrier", "category")]
LOGGED: dict[str, Any] = {"f.distance": 700.0, "f.is_urgent": 1.0, "f.carrier": "UA"}


@pytest.fixture
def worker(loop: Loop, tmp_path: Path) -> Iterator[Any]:
    children = ChildPool(tmp_path / "worker", loop.blobs)
    yield Worker(loop, tmp_path, children)
    children.close()


@pytest.fixture
def serving_constant(loop: Loop) -> Loop:
    """Serve a version that always answers 0.9."""
    loop.apply()
    body = loop.blobs.put(b'{"value": 0.9}')
    files, signature = [ModelFile("constant.json", body.digest, body.size_bytes)], Signature(INPUTS, "binary")
    loop.service("registry.register", model="late", flavour="constant", files=files, signature=signature)
    loop("loop.deploy", deployment="late", version=1)
    return loop


def log(
    loop: Loop, prediction_id: str, score: float | None, features: dict[str, Any], stream: str = "late", **facts: Any
) -> None:
    moment = {"event_at": loop.wall.at_us, "recorded_at": loop.wall.at_us}
    row = {"release": 1, "variant": "champion", "model_version": 1, "is_shadow": False, "score": score, **moment}
    fixed = pl.DataFrame([{"prediction_id": prediction_id, **row, **facts}], schema=predictions.PREDICTION_SCHEMA)
    frame = fixed.with_columns(pl.lit(value).alias(name) for name, value in features.items())
    body = io.BytesIO()
    frame.write_parquet(body)
    blob = loop.blobs.put(body.getvalue())
    chunk = describe_chunk(frame, blob, kind="predictions", stream=stream, writer=prediction_id, seq=1)
    loop.service("chunks.register", chunks=[to_builtins(chunk)])


@pytest.mark.parametrize(
    ("score", "is_same", "said"),
    [(0.9, True, "0.9, the same to the bit"), (0.5, False, "NOT the same"), (None, False, "holds no answer")],
)
def test_the_answer_is_compared_to_the_bit(
    serving_constant: Loop, worker: Worker, score: float | None, is_same: bool, said: str
) -> None:
    log(serving_constant, "pred_1", score, LOGGED)
    log(serving_constant, "pred_1x", 0.1, LOGGED, is_shadow=True, variant="frozen")
    job = serving_constant("loop.start_replay", prediction_id="flights/prediction:pred_1")
    assert job.ref == "flights/prediction:pred_1"
    done = worker.do(job)
    assert (done["logged"], done["computed"], done["is_same"]) == (score, 0.9, is_same)
    assert said in done["sentence"]


def test_what_the_log_does_not_hold_cannot_be_computed_again(serving_constant: Loop, worker: Any) -> None:
    log(serving_constant, "pred_1", 0.9, {name: value for name, value in LOGGED.items() if name != "f.carrier"})
    with pytest.raises(InvalidInput, match="does not hold all") as told:
        recompute(worker, "pred_1")
    assert (told.value.value, "personal" in (told.value.rule or "")) == ("carrier", True)
    with pytest.raises(NotFound, match="no prediction of this project"):
        recompute(worker, "pred_2")


def test_a_model_that_runs_elsewhere_is_not_here(loop: Loop, worker: Any) -> None:
    elsewhere = {"name": "elsewhere", "model": "elsewhere", "task": "binary", "is_external": True}
    loop("serving.declare", spec=elsewhere)
    log(loop, "pred_1", 0.9, LOGGED, stream="elsewhere", release=0, variant="external")
    with pytest.raises(NotFound, match="made elsewhere"):
        recompute(worker, "pred_1")


def test_a_row_scored_in_a_batch_is_computed_by_its_own_version(serving_constant: Loop, worker: Any) -> None:
    body = serving_constant.blobs.put(b'{"value": 0.2}')
    files, signature = [ModelFile("constant.json", body.digest, body.size_bytes)], Signature(INPUTS, "binary")
    registered = {"model": "late", "flavour": "constant", "files": files, "signature": signature}
    assert serving_constant.service("registry.register", **registered).version == 2
    log(serving_constant, "pred_1", 0.2, LOGGED, variant=predictions.SCORED, model_version=2)
    assert recompute(worker, "pred_1").is_same
