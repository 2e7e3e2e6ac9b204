"""Reading the prediction log: pure functions over chunks and the blob store.

A prediction has one served row and, under the same id, one row for each shadow. Batch scores carry the variant
``score``, models that run elsewhere ``external``.
"""

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any, NamedTuple

import polars as pl

from loopwright.store.blobs import BlobStore
from loopwright.store.streams import FEATURE_PREFIX, KEYED_LABELS, LABELS, OTHER_ROW_FAILED, PREDICTIONS
from loopwright.store.types import Chunk

SCORED = "score"
"""Variant of rows scored in a batch, which no release chose."""
_ANSWER = ["prediction_id", "variant", "is_shadow"]
"""What names one answer: the served one of a prediction, or that of one of its shadows."""

PREDICTION_SCHEMA = PREDICTIONS.schema()
"""Columns of every prediction chunk; feature columns ``f.<name>`` follow them."""
LABEL_SCHEMA = LABELS.schema()
"""Columns of every label chunk."""


def failed_itself(error: str = "error") -> pl.Expr:
    """Return which rows their variant could not answer; not those that got no answer because another row failed.

    It says who is to blame. Callers got an answer where ``error`` is null.
    """
    return pl.col(error).is_not_null() & (pl.col(error) != OTHER_ROW_FAILED)


def scan(
    chunks: Iterable[Chunk],
    blobs: BlobStore,
    *,
    start_at: int | None = None,
    end_at: int | None = None,
    columns: Sequence[str] | None = None,
) -> pl.LazyFrame:
    """Return predictions with event times in ``[start_at, end_at)``, each column read only if asked for.

    Args:
        chunks: Chunks of kind ``predictions``.
        blobs: Where their bytes are.
        start_at: Microseconds UTC.
        end_at: Microseconds UTC.
        columns: Those to return, ``f.<name>`` for features; None for all.
    """
    kept = [
        chunk
        for chunk in chunks
        if (start_at is None or chunk.event_at_max >= start_at) and (end_at is None or chunk.event_at_min < end_at)
    ]
    needs_features = columns is None or any(name.startswith(FEATURE_PREFIX) for name in columns)
    frame = _with_features(kept, blobs, columns) if needs_features else _scan(kept, blobs, PREDICTION_SCHEMA)
    frame = _between(frame, start_at, end_at)
    return frame if columns is None else frame.select(columns)


def _between(frame: pl.LazyFrame, start_at: int | None, end_at: int | None) -> pl.LazyFrame:
    if start_at is not None:
        frame = frame.filter(pl.col("event_at") >= start_at)
    return frame if end_at is None else frame.filter(pl.col("event_at") < end_at)


def _scan(chunks: Sequence[Chunk], blobs: BlobStore, schema: pl.Schema) -> pl.LazyFrame:
    if not chunks:
        return pl.LazyFrame(schema=schema)
    paths = [blobs.path(chunk.digest) for chunk in chunks]
    return pl.scan_parquet(paths, schema=schema, missing_columns="insert", extra_columns="ignore")


def _with_features(chunks: Sequence[Chunk], blobs: BlobStore, columns: Sequence[str] | None) -> pl.LazyFrame:
    """Return the chunks with their features; releases may differ in which they have and, rarely, in their types."""
    groups: dict[tuple[str, ...], list[Chunk]] = {}
    wanted = None if columns is None else {name for name in columns if name.startswith(FEATURE_PREFIX)}
    for chunk in chunks:
        schema = pl.read_parquet_schema(blobs.path(chunk.digest))
        texts = tuple(
            sorted(f"{name}:{dtype == pl.String}" for name, dtype in schema.items() if name.startswith(FEATURE_PREFIX))
        )
        groups.setdefault(texts, []).append(chunk)
    frames = []
    for features, members in groups.items():
        named = (feature.rsplit(":", 1) for feature in features)
        extra = {name: pl.String() if is_text == "True" else pl.Float64() for name, is_text in named}
        schema = pl.Schema({**PREDICTION_SCHEMA, **{n: t for n, t in extra.items() if wanted is None or n in wanted}})
        frames.append(_scan(members, blobs, schema))
    frame = pl.concat(frames, how="diagonal_relaxed") if frames else _scan([], blobs, PREDICTION_SCHEMA)
    absent = sorted((wanted or set()) - {name.rsplit(":", 1)[0] for features in groups for name in features})
    return frame.with_columns(pl.lit(None, pl.Float64()).alias(name) for name in absent) if absent else frame


class Part(NamedTuple):
    """Chunks, and the range of ids ``[low, high)`` of which they are read; None: no bound."""

    chunks: list[Chunk]
    low: str | None = None
    high: str | None = None

    def within(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return the rows whose ids are in the range."""
        if self.low is not None:
            rows = rows.filter(pl.col("prediction_id") >= pl.lit(self.low))
        return rows if self.high is None else rows.filter(pl.col("prediction_id") < pl.lit(self.high))


def parts(chunks: Sequence[Chunk], most_rows: int) -> list[Part]:
    """Return chunks by ranges of ids, at least one, so that every row is in one part and the same answer in the same.

    A part holds hardly more rows than ``most_rows``, unless more chunks than that overlap.
    """
    ordered = sorted(chunks, key=lambda chunk: chunk.id_first)
    cuts: list[str | None] = [None]
    rows = 0
    for chunk in ordered:
        if rows and rows + chunk.rows > most_rows and chunk.id_first != cuts[-1]:
            cuts.append(chunk.id_first)
            rows = 0
        rows += chunk.rows
    found = []
    for low, high in zip(cuts, [*cuts[1:], None], strict=True):
        is_inside = [
            (low is None or chunk.id_last >= low) and (high is None or chunk.id_first < high) for chunk in ordered
        ]
        found.append(Part(list(compress(ordered, is_inside)), low, high))
    return found


def latest_labels(
    chunks: Iterable[Chunk],
    blobs: BlobStore,
    *,
    known_by: int | None = None,
    between: tuple[str, str] | None = None,
    among: pl.Series | None = None,
) -> pl.LazyFrame:
    """Return one label a prediction id: the latest by (event_at, recorded_at, label_id).

    Labels may come for months; of those that are not asked for, hardly more is read than where they lie, and nothing of
    chunks that tell of others alone.

    Args:
        chunks: Chunks of kind ``labels``.
        blobs: Where their bytes are.
        known_by: Leave out what became known later, microseconds UTC.
        between: Lowest and highest id of the predictions that are asked for, where not all are.
        among: The ids themselves.

    Returns:
        ``prediction_id, label, label_text, label_at``.
    """
    if among is not None:
        between = (str(among.min()), str(among.max())) if len(among) else ("", "")
    frame = _scan([each for each in chunks if between is None or each.may_tell_of(*between)], blobs, LABEL_SCHEMA)
    if between is not None:
        first, last = (pl.lit(bound) for bound in between)
        frame = frame.filter(pl.col("prediction_id").is_between(first, last))  # by row groups
    if among is not None:
        frame = frame.join(among.unique().to_frame("prediction_id").lazy(), on="prediction_id", how="semi")
    if known_by is not None:
        frame = frame.filter(pl.col("event_at") <= known_by)
    return (
        frame.sort("event_at", "recorded_at", "label_id")
        .unique(subset="prediction_id", keep="last", maintain_order=True)
        .select("prediction_id", "label", "label_text", pl.col("event_at").alias("label_at"))
    )


def latest_keyed_labels(chunks: Iterable[Chunk], blobs: BlobStore) -> pl.LazyFrame:
    """Return one label a row: the latest by (event_at, recorded_at, label_id).

    Args:
        chunks: Chunks of kind ``keyed_labels``.
        blobs: Where their bytes are.

    Returns:
        ``row_key, label_id, label, label_text, label_at``.
    """
    frame = _scan(list(chunks), blobs, KEYED_LABELS.schema()).drop_nulls(["row_key", "event_at"])
    return (
        frame.sort("event_at", "recorded_at", "label_id")
        .unique(subset="row_key", keep="last", maintain_order=True)
        .select("row_key", "label_id", "label", "label_text", pl.col("event_at").alias("label_at"))
    )


def join_labels(predictions: pl.LazyFrame, labels: pl.LazyFrame) -> pl.LazyFrame:
    """Return the predictions with ``label``, ``label_text`` and ``label_at``, null where no label has come yet."""
    return predictions.join(labels, on="prediction_id", how="left")


def latest(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return each variant's answer to each prediction once, as it was recorded last; ids may have been sent again.

    Only the keys are looked at as a whole: rows of a log are too many to be sorted for the few that came twice.
    """
    repeated = rows.group_by(_ANSWER).len().filter(pl.col("len") > 1).select(_ANSWER).collect().lazy()
    if not repeated.select(pl.len()).collect().item():
        return rows
    again = rows.join(repeated, on=_ANSWER, how="semi").sort("recorded_at")
    newest = again.unique(subset=_ANSWER, keep="last", maintain_order=True)
    return pl.concat([rows.join(repeated, on=_ANSWER, how="anti"), newest])


def find_prediction(chunks: Iterable[Chunk], blobs: BlobStore, prediction_id: str) -> list[dict[str, Any]]:
    """Return the rows of one prediction, the served one first, then its shadows; empty if no chunk holds it.

    Args:
        chunks: Those whose id range may hold it (``chunks.find`` with ``item_id``).
        blobs: Where their bytes are.
        prediction_id: The id that came with the answer.
    """
    rows: list[dict[str, Any]] = []
    for chunk in chunks:
        if chunk.id_first <= prediction_id <= chunk.id_last:
            frame = pl.scan_parquet(blobs.path(chunk.digest)).filter(pl.col("prediction_id") == prediction_id)
            rows += frame.collect().to_dicts()
    return sorted(rows, key=lambda row: (row["is_shadow"], row["variant"]))


def recent(chunks: Iterable[Chunk], blobs: BlobStore, *, limit: int = 50) -> pl.DataFrame:
    """Return the newest served rows without their features, newest first, reading no more chunks than needed."""
    newest = sorted(chunks, key=lambda chunk: chunk.event_at_max, reverse=True)
    frame = pl.DataFrame(schema=PREDICTION_SCHEMA)
    for index, chunk in enumerate(newest):
        rows = _scan([chunk], blobs, PREDICTION_SCHEMA).filter(~pl.col("is_shadow")).collect()
        frame = pl.concat([frame, rows]).sort("event_at", "prediction_id", descending=True).head(limit)
        is_last = index + 1 == len(newest)
        if is_last or (len(frame) == limit and newest[index + 1].event_at_max < frame["event_at"][-1]):
            break
    return frame
