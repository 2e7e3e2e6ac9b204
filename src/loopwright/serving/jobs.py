"""Jobs of serving: judging a look at a rollout step, and scoring a batch of rows."""

import io
from typing import Any

import polars as pl

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.documents import digest_of, to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.ids import encode_ulid
from loopwright.registry import ModelVersion, artifacts, encoding, get_version
from loopwright.serving import predictions
from loopwright.serving.rollouts.judging import COLUMNS, judge
from loopwright.serving.rollouts.steps import finish_step
from loopwright.serving.scores import SCORERS, finish_score
from loopwright.serving.types import CHAMPION, CanaryStep, JudgeSpec, ScoreSpec
from loopwright.store import chunks as store_chunks
from loopwright.store.streams import FEATURE_PREFIX, PREDICTIONS
from loopwright.store.types import Chunk, Job, Streams
from loopwright.store.work import JobContext, job

SCORE_ROWS = 100_000
"""Most rows of one scored chunk."""


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


@job(ScoreSpec)
def score(context: JobContext, spec: ScoreSpec) -> dict[str, Any]:
    """Score a Parquet blob with one model version: into the prediction log, and as a blob of answers."""
    task = context.job
    version = context.call(get_version, model=spec.model, version=spec.version)
    frame = pl.read_parquet(context.blobs.path(spec.input.digest))
    names = [column.name for column in version.signature.inputs]
    _check_columns(frame, spec, version)
    predictor = artifacts.load_model(version, context.blobs)
    encoder = encoding.Encoder(version.signature)
    ids = score_ids(task.job_id, task.recorded_at, len(frame))
    answers: list[pl.DataFrame] = []
    for seq, begin in enumerate(range(0, len(frame), SCORE_ROWS)):
        part = frame.slice(begin, SCORE_ROWS)
        matrix = encoder.encode({name: part[name] for name in names})
        rows = _rows(spec, task, version, part, ids[begin : begin + len(part)], predictor.predict(matrix))
        answers.append(rows.select("prediction_id", "row_key", "score", "answer"))
        _register(context, spec, seq, _without_personal(rows, spec))
        context.progress(f"{begin + len(part):,} of {len(frame):,} rows")
    answered = pl.concat(answers) if answers else pl.DataFrame(schema={"prediction_id": pl.String()})
    body = io.BytesIO()
    answered.write_parquet(body)
    out = context.blobs.put(body.getvalue())
    context.call(finish_score, job_id=task.job_id, output=out, rows=len(frame))
    return {"output": out.digest, "rows": len(frame)}


def _check_columns(frame: pl.DataFrame, spec: ScoreSpec, version: ModelVersion) -> None:
    own = [name for name in (spec.id_column, spec.time_column) if name]
    needed = [*(column.name for column in version.signature.inputs), *own]
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        raise InvalidInput(
            f"the rows lack {len(absent)} of the columns needed",
            field="input",
            value=", ".join(absent[:10]),
            rule=f"every input of {version.model}/{version.version} is a column",
            next_step="add them; a training set of its feature service has all of them",
        )


def score_ids(job_id: str, at_us: int, count: int) -> list[str]:
    """Return prediction ids that are the same each time a job runs: its moment, its digest, the row's number."""
    base = (at_us // 1000 << 80) | (int(digest_of(job_id)[:12], 16) << 32)
    return [f"pred_{encode_ulid(base + number)}" for number in range(count)]


def _rows(
    spec: ScoreSpec, task: Job, version: ModelVersion, part: pl.DataFrame, ids: list[str], scores: Any
) -> pl.DataFrame:
    """Return rows of the prediction log; inputs become feature columns."""
    is_plain = scores.ndim == 1
    classes = version.signature.classes
    frame = pl.DataFrame({"prediction_id": ids}).with_columns(
        row_key=part[spec.id_column].cast(pl.String()) if spec.id_column else pl.lit(None),
        release=pl.lit(spec.release),
        variant=pl.lit(predictions.SCORED),
        model_version=pl.lit(version.version),
        is_shadow=pl.lit(False),
        event_at=_event_at(spec, task, part),
        recorded_at=pl.lit(task.recorded_at),
        latency_us=pl.lit(0),
        score=pl.Series(scores, dtype=pl.Float64()) if is_plain else pl.lit(None),
        answer=pl.lit(None) if is_plain else pl.Series([_answer(classes, row) for row in scores.tolist()]),
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


def _without_personal(rows: pl.DataFrame, spec: ScoreSpec) -> pl.DataFrame:
    """Return rows as the log keeps them; the caller's own file of answers still has its ids."""
    features = [FEATURE_PREFIX + name for name in spec.personal]
    kept = rows.drop(features, strict=False)
    return kept.with_columns(row_key=pl.lit(None, pl.String())) if spec.id_column in spec.personal else kept


def _answer(classes: list[str], row: list[float]) -> str:
    """Return the answer of a task with several outputs: the likeliest class and the probability of each."""
    likeliest = classes[max(range(len(row)), key=row.__getitem__)]
    return to_json({"class": likeliest, "probabilities": dict(zip(classes, row, strict=True))}).decode()


def _event_at(spec: ScoreSpec, task: Job, part: pl.DataFrame) -> pl.Series | pl.Expr:
    if not spec.time_column:
        return pl.lit(task.event_at)
    times = part[spec.time_column]
    return times.dt.epoch("us") if times.dtype.is_temporal() else times.cast(pl.Int64())


def _register(context: JobContext, spec: ScoreSpec, seq: int, rows: pl.DataFrame) -> None:
    blob, writer = context.blobs.put(store_chunks.pack_rows(rows)), SCORERS + context.job.job_id
    chunk = store_chunks.describe_chunk(rows, blob, kind="predictions", stream=spec.deployment, writer=writer, seq=seq)
    context.call(store_chunks.register, chunks=[chunk])
