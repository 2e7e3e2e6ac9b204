"""Answers in the prediction log, as a gateway or a batch leaves them."""

import io
from typing import Any

import polars as pl

from loopwright.kernel.documents import to_builtins
from loopwright.serving import predictions
from loopwright.store.chunks import describe_chunk
from tests.loop.conftest import Loop


def answer(loop: Loop, number: int, **facts: Any) -> str:
    """Log one answer of the newest release; returns its id."""
    release = loop("serving.get_release", deployment="late")
    fixed = {"release": release.number, "variant": "champion", "model_version": release.variants[0].version}
    moment = {"event_at": loop.wall.at_us, "recorded_at": loop.wall.at_us}
    writer, stream = facts.pop("writer", "gateway-0"), facts.pop("stream", "late")
    row = {"prediction_id": f"pred_{number:03}", "is_shadow": False, "score": 0.5, "latency_us": 1, **moment}
    frame = pl.DataFrame([{**row, **fixed, **facts}], schema=predictions.PREDICTION_SCHEMA)
    _log(loop, frame, kind="predictions", stream=stream, writer=writer, seq=number)
    return str(row["prediction_id"])


def label(loop: Loop, number: int, value: float, *, event_at: int) -> None:
    """Log the outcome of an answer."""
    row = {"label_id": f"{event_at}", "prediction_id": f"pred_{number:03}", "label": value}
    frame = pl.DataFrame([{**row, "event_at": event_at, "recorded_at": event_at}], schema=predictions.LABEL_SCHEMA)
    _log(loop, frame, kind="labels", stream="late", writer="gateway-0", seq=event_at)


def _log(loop: Loop, frame: pl.DataFrame, **place: Any) -> None:
    body = io.BytesIO()
    frame.write_parquet(body)
    chunk = describe_chunk(frame, loop.blobs.put(body.getvalue()), **place)
    loop.service("chunks.register", chunks=[to_builtins(chunk)])
