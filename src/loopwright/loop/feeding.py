"""The job that finds the rows of labels: by the key that was logged with the prediction."""

import io
from typing import Any

import polars as pl

from loopwright import data
from loopwright.data import DatasetVersion, read, row_keys
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import NotFound
from loopwright.kernel.tasks import class_name
from loopwright.loop.label_feed import KNOWN_AT, finish_label_feed, label_feed
from loopwright.loop.types import FeedLabels, LabelFeed
from loopwright.serving import predictions
from loopwright.store import chunks
from loopwright.store.types import BlobRef, Streams
from loopwright.store.work import JobContext, job

MOST_ROWS = 250_000
"""Rows of the log that are held at once."""
_LATE_US = DAY_US
"""Chunks that were stored this much before the newest are looked at again: a server's clock may have been wrong."""
_UNSEALED_US = 30 * DAY_US
"""How long a label waits for its prediction, which may lie in the spool of a gateway that is down."""
_WAITING = {
    "prediction_id": pl.String(),
    "row_key": pl.String(),
    "label": pl.Float64(),
    "label_text": pl.String(),
    "label_at": pl.Int64(),
    "came_at": pl.Int64(),
}
"""Labels that a version does not say yet; ``row_key`` is null where the log does not hold the prediction yet."""


@job(FeedLabels)
def feed(context: JobContext, args: FeedLabels) -> dict[str, Any]:
    """Complete the rows that labels are of; those that no version says yet wait until one does. Twice is once."""
    found = context.call(label_feed, deployment=args.deployment)
    if found is None:
        return {"labels": 0}
    context.seal(Streams(context.project, ("predictions", "labels"), args.deployment))
    labels, since = _labels(context, found)
    keyed, unmet = labels.filter(pl.col("row_key").is_not_null()), labels.filter(pl.col("row_key").is_null())
    try:
        version = context.call(data.get_version, dataset=found.dataset)
    except NotFound:  # nothing was imported yet
        version = None
    fresh, absent = (None, keyed) if version is None else _split(context, found, version, keyed)
    count = 0 if fresh is None else fresh.height
    taken = [] if fresh is None else [keyed.join(fresh, left_on="row_key", right_on="row_id", how="semi")]
    context.call(
        finish_label_feed,
        deployment=args.deployment,
        replacements=found.replacements,
        since=since,
        waiting=_stored(context, pl.concat([unmet, absent, *taken])),
        rows=_stored(context, None if fresh is None else fresh.drop("row_id")),
        reason=f"{count} labels of {args.deployment}",
    )
    return {"labels": count, "waiting": unmet.height + absent.height}


def _stored(context: JobContext, rows: pl.DataFrame | None) -> BlobRef | None:
    if rows is None or not rows.height:
        return None
    body = io.BytesIO()
    rows.write_parquet(body, compression="zstd", compression_level=1)
    return context.blobs.put(body.getvalue())


def _labels(context: JobContext, found: LabelFeed) -> tuple[pl.DataFrame, int]:
    """Return the last label of each row, those whose prediction is not in the log, and from when on to look next."""
    now_us = context.job.recorded_at
    stored = context.call(
        chunks.find, kind="labels", stream=found.deployment, recorded_since=max(0, found.since - _LATE_US)
    )
    since = max((chunk.recorded_at for chunk in stored), default=found.since)
    came = predictions.latest_labels(stored, context.blobs).collect().with_columns(came_at=pl.lit(now_us))
    kept = [pl.read_parquet(context.blobs.path(found.waiting))] if found.waiting else []
    every = pl.concat([pl.DataFrame(schema=_WAITING), *kept, came], how="diagonal")
    first_at = pl.col("came_at").min().over("prediction_id")
    unmet = _newest(every.filter(pl.col("row_key").is_null()).with_columns(first_at), "prediction_id")
    met = [every.filter(pl.col("row_key").is_not_null())]
    if unmet.height:
        ids = unmet["prediction_id"].sort()
        logged = context.call(chunks.find, kind="predictions", stream=found.deployment)
        meeting = [chunk for chunk in logged if _meets(ids, chunk.id_first, chunk.id_last)]
        for part in predictions.parts(meeting, MOST_ROWS):
            rows = predictions.scan(part.chunks, context.blobs, columns=["prediction_id", "row_key", "is_shadow"])
            served = part.within(rows).filter(~pl.col("is_shadow")).drop("is_shadow")
            met.append(served.join(unmet.lazy().drop("row_key"), on="prediction_id").select(list(_WAITING)).collect())
    keyed = pl.concat(met)
    unmet = unmet.join(keyed, on="prediction_id", how="anti").filter(pl.col("came_at") > now_us - _UNSEALED_US)
    return pl.concat([_newest(keyed.drop_nulls("row_key"), "row_key"), unmet]), since


def _newest(labels: pl.DataFrame, of: str) -> pl.DataFrame:
    return labels.sort("label_at", maintain_order=True).unique(of, keep="last", maintain_order=True)


def _meets(ids: pl.Series, first: str, last: str) -> bool:
    at = int(ids.search_sorted(first, side="left"))
    return at < len(ids) and ids[at] <= last


def _split(
    context: JobContext, found: LabelFeed, version: DatasetVersion, labels: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows to complete, ``row_id`` and their labels, and the labels whose rows are not there.

    A label that says what the row says already is neither, nor is one from before what the row says.
    """
    assert version.spec is not None
    key = version.spec.key
    stored = read.newest_values(version, context.blobs, found.column).collect()
    stored = stored.with_columns(row_keys.row_ids(stored, key))
    is_there = pl.Series(labels["row_key"].is_in(stored["row_id"].implode()))
    met = stored.join(labels, left_on="row_id", right_on="row_key", how="inner", maintain_order="left")
    said = _as_column(met, met.schema[found.column]).alias("said")
    was = pl.col(found.column)
    is_later = was.is_null() | (pl.col("label_at") > pl.col(read.KNOWN_AT).fill_null(0))
    fresh = met.with_columns(said).filter(pl.col("said").is_not_null() & pl.col("said").ne_missing(was) & is_later)
    at = pl.min_horizontal("label_at", pl.lit(context.job.event_at)).cast(pl.Datetime("us", "UTC"))
    given = fresh.select("row_id", *key, pl.col("said").alias(found.column), at.alias(KNOWN_AT))
    return given, labels.filter(~is_there)


def _as_column(labels: pl.DataFrame, dtype: pl.DataType) -> pl.Series:
    """Return labels in the dtype of the column that they complete; null where it cannot hold one.

    A column without a value so far has no dtype yet: it becomes one of numbers, or of texts where a label is one.
    """
    numbers, texts = labels["label"].fill_nan(None), labels["label_text"]
    if dtype == pl.String or (dtype == pl.Null and texts.null_count() < len(texts)):
        named = [None if number is None else class_name(number) for number in numbers]
        return texts.zip_with(texts.is_not_null(), pl.Series(named, dtype=pl.String))
    numbers = numbers.zip_with(numbers.is_not_null(), texts.cast(pl.Float64, strict=False))
    if dtype == pl.Null or dtype.is_float():
        return numbers if dtype == pl.Null else numbers.cast(dtype)
    cast = numbers.cast(dtype, strict=False)
    return cast.zip_with((cast.cast(pl.Float64) == numbers).fill_null(value=False), pl.Series([None], dtype=dtype))
