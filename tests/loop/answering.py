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
    body = io.BytesIO()
    frame.write_parquet(body)
    stored = loop.blobs.put(body.getvalue())
    chunk = describe_chunk(frame, stored, kind="predictions", stream=stream, writer=writer, seq=number)
    loop.service("chunks.register", chunks=[to_builtins(chunk)])
    return str(row["prediction_id"])
