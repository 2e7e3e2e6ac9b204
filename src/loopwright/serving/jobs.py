"""Jobs of serving: judging a look at a rollout step."""

from typing import Any

import polars as pl

from loopwright.kernel.clock import DAY_US
from loopwright.serving import predictions
from loopwright.serving.rollouts.judging import judge
from loopwright.serving.rollouts.looking import needs_labels, read_parts
from loopwright.serving.rollouts.steps import finish_step
from loopwright.serving.types import CHAMPION, CanaryStep, JudgeLook
from loopwright.store import chunks as store_chunks
from loopwright.store.types import Chunk, Streams
from loopwright.store.work import JobContext, job


@job(JudgeLook)
def judge_look(context: JobContext, spec: JudgeLook) -> dict[str, Any]:
    """Judge one look at a rollout step from the prediction log and hand in what was found."""
    context.seal(Streams(context.project, ("predictions", "labels"), spec.deployment))
    chunks = _chunks(context, spec, spec.start_at, spec.end_at + 1)
    telling = _labels(context, spec, chunks) if needs_labels(spec) else []
    verdicts = judge(spec, read_parts(spec, chunks, telling, context.blobs), _before(context, spec))
    context.call(finish_step, rollout_id=spec.rollout_id, step=spec.index, look=spec.look, verdicts=verdicts)
    return {"verdicts": {verdict.metric: verdict.verdict for verdict in verdicts}, "chunks": len(chunks)}


def _chunks(context: JobContext, spec: JudgeLook, start_at: int, end_at: int) -> list[Chunk]:
    """Return the chunks of what was predicted in ``[start_at, end_at)``."""
    return context.call(store_chunks.find, kind="predictions", stream=spec.deployment, start_at=start_at, end_at=end_at)


def _labels(context: JobContext, spec: JudgeLook, chunks: list[Chunk]) -> list[Chunk]:
    """Return the chunks of labels that may tell of what some chunks hold, as far as it was known at the look."""
    ids = store_chunks.id_ranges(chunks)
    return context.call(
        store_chunks.find_labels, stream=spec.deployment, ids=ids, start_at=spec.start_at, end_at=spec.end_at + 1
    )


def _before(context: JobContext, spec: JudgeLook) -> pl.LazyFrame:
    """Return the champion's rows of the day before a canary step: what is usual."""
    begin, end = spec.start_at - DAY_US, spec.start_at
    chunks = _chunks(context, spec, begin, end) if isinstance(spec.step, CanaryStep) else []
    rows = predictions.scan(
        chunks, context.blobs, start_at=begin, end_at=end, columns=predictions.PREDICTION_SCHEMA.names()
    )
    return rows.filter(~pl.col("is_shadow") & (pl.col("variant") == CHAMPION))
