"""Scoring a batch: a child answers its rows slice by slice; answers go into the prediction log and into one file."""

import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from loopwright.data import reading
from loopwright.kernel.documents import digest_of
from loopwright.kernel.errors import InvalidInput, StepFailed
from loopwright.kernel.ids import encode_ulid
from loopwright.loop.training import evidence
from loopwright.pipelines import PipelineContext
from loopwright.registry import ModelVersion, get_version
from loopwright.serving import SCORERS, ScoreSpec, finish_score, predictions
from loopwright.store import chunks
from loopwright.store.streams import FEATURE_PREFIX, PREDICTIONS
from loopwright.store.types import BlobRef, Job
from loopwright.store.work import job, kind_of
from loopwright.wire.sizes import check_texts_fit

SCORE_ROWS = 100_000
"""Most rows of one slice, and so of one scored chunk: neither the worker nor the child holds more of them at once."""
_ANSWERS = {"prediction_id": pl.String(), "row_key": pl.String(), "score": pl.Float64(), "answer": pl.String()}


@job(ScoreSpec)
def score(context: PipelineContext, spec: ScoreSpec) -> dict[str, Any]:
    """Score a Parquet blob with one model version: into the prediction log, and as a blob of answers."""
    task = context.job
    version = context.call(get_version, model=spec.model, version=spec.version)
    with tempfile.TemporaryDirectory() as name:
        given = Path(name, "rows.parquet")  # what a caller sent may end whoever reads it
        reading.read_again(context, context.blobs.path(spec.input.digest), given, what="the rows to score")
        rows = pl.scan_parquet(given, glob=False)
        needed = _needed_columns(rows, spec, version)
        count = rows.select(pl.len()).collect().item()
        answers = [Path(name, "0.parquet")]
        pl.DataFrame(schema=_ANSWERS).write_parquet(answers[0])
        for seq, begin in enumerate(range(0, count, SCORE_ROWS)):
            part = rows.slice(begin, SCORE_ROWS).select(needed).collect()
            check_texts_fit(part)
            ids = score_ids(task.job_id, task.recorded_at, begin, len(part))
            scored = _rows(spec, task, version, part, ids, _ask_model(context, spec, version, begin, len(part)))
            answers.append(Path(name, f"{seq + 1}.parquet"))
            scored.select(list(_ANSWERS)).write_parquet(answers[-1])
            _register(context, spec, seq, _without_personal(scored, spec))
            context.progress(f"{begin + len(part):,} of {count:,} rows")
        out = _store_answers(context, answers, Path(name, "answers.parquet"))
    context.call(finish_score, job_id=task.job_id, output=out, rows=count)
    return {"output": out.digest, "rows": count}


def _needed_columns(rows: pl.LazyFrame, spec: ScoreSpec, version: ModelVersion) -> list[str]:
    """Return the columns that are read: the model's inputs and those of the caller's own.

    Raises:
        InvalidInput: The rows lack one.
    """
    own = [name for name in (spec.id_column, spec.time_column) if name]
    needed = list(dict.fromkeys([*(column.name for column in version.signature.inputs), *own]))
    present = set(rows.collect_schema().names())
    if absent := [name for name in needed if name not in present]:
        raise InvalidInput(
            f"the rows lack {len(absent)} of the columns needed",
            field="input",
            value=", ".join(absent[:10]),
            rule=f"every input of {version.model}/{version.version} is a column",
            next_step="add them; a training set of its feature service has all of them",
        )
    return needed


def _ask_model(
    context: PipelineContext, spec: ScoreSpec, version: ModelVersion, begin: int, count: int
) -> pl.DataFrame:
    """Return ``score`` and ``answer`` of a slice of the rows, which a child process reads and answers.

    Raises:
        StepFailed: It raised, died or was stopped; the message names the model.
    """
    columns = [column.name for column in version.signature.inputs]
    rows = {"codec": "frame", "blob": spec.input.digest, "slice": [begin, count], "columns": columns}
    asked = {"model": evidence.model_document(version), "rows": rows}
    try:
        called = context.children.call(
            "loopwright.loop.training.scoring:answer",
            asked,
            timeout_s=kind_of(ScoreSpec).deadline_s,
            should_stop=context.should_stop,
        )
    except StepFailed as error:
        model = f"{version.model}/{version.version}"
        error.message = f"{model} did not answer rows {begin:,} to {begin + count - 1:,}: {error.message}"
        raise
    return reading.read_frame(context, context.blobs.path(called.output["blob"]), what="the model's answers")


def score_ids(job_id: str, at_us: int, begin: int, count: int) -> list[str]:
    """Return prediction ids that are the same each time a job runs: its moment, its digest, the row's number."""
    base = (at_us // 1000 << 80) | (int(digest_of(job_id)[:12], 16) << 32)
    return [f"pred_{encode_ulid(base + number)}" for number in range(begin, begin + count)]


def _rows(
    spec: ScoreSpec, task: Job, version: ModelVersion, part: pl.DataFrame, ids: list[str], answered: pl.DataFrame
) -> pl.DataFrame:
    """Return rows of the prediction log; inputs become feature columns."""
    frame = pl.DataFrame({"prediction_id": ids}).with_columns(
        row_key=part[spec.id_column].cast(pl.String()) if spec.id_column else pl.lit(None),
        release=pl.lit(spec.release),
        variant=pl.lit(predictions.SCORED),
        model_version=pl.lit(version.version),
        is_shadow=pl.lit(False),
        event_at=_event_at(spec, task, part),
        recorded_at=pl.lit(task.recorded_at),
        latency_us=pl.lit(0),
        score=answered["score"],
        answer=answered["answer"],
        error=pl.lit(None),
        missing=pl.lit(None),
        bucket=pl.lit(0.0),
    )
    features = [
        part[column.name]
        .cast(pl.Float64() if column.kind in ("number", "boolean") else pl.String())
        .alias(FEATURE_PREFIX + column.name)
        for column in version.signature.inputs
    ]
    return PREDICTIONS.typed(frame.with_columns(features))


def _event_at(spec: ScoreSpec, task: Job, part: pl.DataFrame) -> pl.Series | pl.Expr:
    if not spec.time_column:
        return pl.lit(task.event_at)
    times = part[spec.time_column]
    return times.dt.epoch("us") if times.dtype.is_temporal() else times.cast(pl.Int64())


def _without_personal(rows: pl.DataFrame, spec: ScoreSpec) -> pl.DataFrame:
    """Return rows as the log keeps them; the caller's own file of answers still has its ids."""
    features = [FEATURE_PREFIX + name for name in spec.personal]
    kept = rows.drop(features, strict=False)
    return kept.with_columns(row_key=pl.lit(None, pl.String())) if spec.id_column in spec.personal else kept


def _register(context: PipelineContext, spec: ScoreSpec, seq: int, rows: pl.DataFrame) -> None:
    blob, writer = context.blobs.put(chunks.pack_rows(rows)), SCORERS + context.job.job_id
    chunk = chunks.describe_chunk(rows, blob, kind="predictions", stream=spec.deployment, writer=writer, seq=seq)
    context.call(chunks.register, chunks=[chunk])


def _store_answers(context: PipelineContext, answers: list[Path], out: Path) -> BlobRef:
    """Store the answers of all slices as one file, in their order."""
    pl.scan_parquet(answers).sink_parquet(out)
    return context.blobs.put_file(out)
