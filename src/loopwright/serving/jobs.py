"""Jobs of serving: judging a look at a rollout step."""

from typing import Any

import polars as pl

from loopwright.kernel.clock import DAY_US
from loopwright.serving import predictions
from loopwright.serving.rollouts.judging import COLUMNS, judge
from loopwright.serving.rollouts.steps import finish_step
from loopwright.serving.types import CHAMPION, CanaryStep, JudgeSpec
from loopwright.store import chunks as store_chunks
from loopwright.store.types import Chunk, Streams
from loopwright.store.work import JobContext, job


@job(JudgeSpec)
def judge_step(context: JobContext, spec: JudgeSpec) -> dict[str, Any]:
    """Judge one look at a rollout step from the prediction log and hand in what was found."""
    context.seal(Streams(context.project, ("predictions", "labels"), spec.deployment))
    chunks = _chunks(context, spec, spec.start_at, spec.end_at + 1)
    scanned = _scan(context, chunks, spec.start_at, spec.end_at + 1)
    rows = scanned.filter(pl.col("release") >= spec.release).collect()
    telling = context.call(
        store_chunks.find_labels,
        stream=spec.deployment,
        ids=store_chunks.id_ranges(chunks),
        start_at=spec.start_at,
        end_at=spec.end_at + 1,
    )
    among = rows.get_column("prediction_id")
    labels = predictions.latest_labels(telling, context.blobs, known_by=spec.end_at, among=among).collect()
    verdicts = judge(spec, rows, labels, _before(context, spec))
    context.call(finish_step, rollout_id=spec.rollout_id, step=spec.index, look=spec.look, verdicts=verdicts)
    return {"verdicts": {verdict.metric: verdict.verdict for verdict in verdicts}, "rows": len(rows)}


def _before(context: JobContext, spec: JudgeSpec) -> pl.DataFrame:
    """Return the champion's rows of the day before a canary step: what is usual."""
    if not isinstance(spec.step, CanaryStep):
        return pl.DataFrame(schema=predictions.PREDICTION_SCHEMA).select(COLUMNS)
    begin, end = spec.start_at - DAY_US, spec.start_at
    rows = _scan(context, _chunks(context, spec, begin, end), begin, end)
    return rows.filter(~pl.col("is_shadow") & (pl.col("variant") == CHAMPION)).collect()


def _chunks(context: JobContext, spec: JudgeSpec, start_at: int, end_at: int) -> list[Chunk]:
    """Return the chunks of what was predicted in ``[start_at, end_at)``."""
    return context.call(store_chunks.find, kind="predictions", stream=spec.deployment, start_at=start_at, end_at=end_at)


def _scan(context: JobContext, chunks: list[Chunk], start_at: int, end_at: int) -> pl.LazyFrame:
    return predictions.scan(chunks, context.blobs, start_at=start_at, end_at=end_at, columns=COLUMNS)
