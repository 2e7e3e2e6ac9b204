"""The job that matches labels that name rows with the predictions that were made for these rows.

A label tells of every prediction of its row that was asked for before the outcome was known. Predictions may be told
later than their labels, out of the spool of a gateway that was down, so labels wait: a day where predictions were
found, else a month.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import polars as pl

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.ids import encode_ulid
from loopwright.loop import key_index
from loopwright.loop.feeding import store_rows
from loopwright.loop.key_index import DIGEST
from loopwright.loop.key_match import finish_label_match, label_match
from loopwright.loop.label_feed import UNSEALED_US
from loopwright.loop.stream_pages import Page, next_page
from loopwright.loop.types import KeyMatch, KeyRun, MatchLabels
from loopwright.serving import predictions
from loopwright.store import chunks
from loopwright.store.streams import KEYED_LABELS, LABELS, PREDICTIONS
from loopwright.store.types import StoredChunk, StreamCursor, Streams
from loopwright.store.work import JobContext, job

MOST_LABELS = 500_000
"""Labels that are read at once, but for those of the last chunk."""
MOST_PREDICTIONS = 2_000_000
"""Predictions that are put into the index at once, but for those of the last chunk."""
MOST_ROWS = 250_000
"""Rows of a chunk of labels."""
MOST_WAITING = 2_000_000
"""Labels that wait at once, of more the newest: somebody may tell the outcomes of all rows, few of them asked for."""
MET_US = DAY_US
"""How long a label that found predictions waits for others."""
WRITER = "matched by key"
"""Who writes chunks of labels that named rows."""
_MOST_MS = 2**48 - 1
"""What the moment of a ULID can be, milliseconds."""
_WAITING = pl.Schema(
    {
        **DIGEST,
        "label_id": pl.String(),
        "label": pl.Float64(),
        "label_text": pl.String(),
        "label_at": pl.Int64(),
        "came_at": pl.Int64(),
        "is_met": pl.Boolean(),
    }
)
"""Labels that name rows, one a key."""


class _Read(NamedTuple):
    """What was read: labels of before and new ones, and predictions that are new to the index."""

    waiting: pl.DataFrame
    came: pl.DataFrame
    predictions: pl.DataFrame


@job(MatchLabels)
def match(context: JobContext, args: MatchLabels) -> dict[str, Any]:
    """Give labels that name rows to the predictions for these rows; twice is once."""
    found = context.call(label_match, deployment=args.deployment)
    if found is None:
        return {"labels": 0}
    context.seal(Streams(context.project, (PREDICTIONS.kind, KEYED_LABELS.kind), args.deployment))
    labelled, logged = (
        next_page(context, found.labels, MOST_LABELS),
        next_page(context, found.predictions, MOST_PREDICTIONS),
    )
    read = _Read(_waiting(context, found, logged), _labels(context, labelled), _predictions(context, logged))
    writer = _Writer(context, args.deployment)
    met = [writer.add(each) for each in _matches(context, found, read)]
    waiting = _still_waiting(context, read, met)
    is_first = context.call(
        finish_label_match,
        before=found,
        labels=_cursor(found.labels, labelled),
        predictions=_cursor(found.predictions, logged),
        read={KEYED_LABELS.kind: len(labelled.chunks), PREDICTIONS.kind: len(logged.chunks)},
        waiting=store_rows(context, waiting),
        runs=_runs(context, found, read.predictions),
        matched=writer.close(),
    )
    unmet = waiting.filter(~pl.col("is_met")).height
    return {"labels": writer.rows if is_first else 0, "came": read.came.height, "waiting": unmet}


def _cursor(cursor: StreamCursor, page: Page) -> StreamCursor:
    return StreamCursor(cursor.kind, cursor.stream, page.until, has_more=page.has_more)


def _waiting(context: JobContext, found: KeyMatch, page: Page) -> pl.DataFrame:
    """Return the labels that still waited as the first of the new predictions was stored."""
    if not found.labels.waiting:
        return pl.DataFrame(schema=_WAITING)
    rows = pl.read_parquet(context.blobs.path(found.labels.waiting))
    return rows.filter(_waits_at(page.chunks[0].recorded_at)) if page.chunks else rows


def _waits_at(at_us: int) -> pl.Expr:
    kept_us = pl.when("is_met").then(MET_US).otherwise(UNSEALED_US)
    return pl.col("came_at") + kept_us > at_us


def _labels(context: JobContext, page: Page) -> pl.DataFrame:
    """Return what came, the newest label of each key."""
    rows = predictions.latest_keyed_labels(page.chunks, context.blobs).collect()
    came_at, is_met = pl.lit(context.job.recorded_at).alias("came_at"), pl.lit(value=False).alias("is_met")
    return key_index.with_digests(rows).with_columns(came_at, is_met).select(list(_WAITING))


def _predictions(context: JobContext, page: Page) -> pl.DataFrame:
    """Return the predictions that name a row, as the index keeps them."""
    columns = ["prediction_id", "row_key", "event_at", "is_shadow"]
    rows = predictions.scan(page.chunks, context.blobs, columns=columns).filter(~pl.col("is_shadow"))
    return key_index.with_digests(rows.drop_nulls("row_key").drop("is_shadow").collect()).select(list(key_index.INDEX))


def _matches(context: JobContext, found: KeyMatch, read: _Read) -> Iterable[pl.DataFrame]:
    """Yield predictions with their labels: new ones with all labels, those of before with the new labels."""
    newest = pl.concat([read.waiting, read.came]).sort("label_at", maintain_order=True)
    yield key_index.match(read.predictions, newest.unique(list(DIGEST), keep="last"))
    if read.came.height:
        yield from key_index.find_all(context.blobs, found.runs, read.came)


class _Writer:
    """Puts labels of predictions into chunks, which nobody sees before they are registered."""

    def __init__(self, context: JobContext, deployment: str) -> None:
        self._context, self._deployment = context, deployment
        self._pending: list[pl.DataFrame] = []
        self._chunks: list[StoredChunk] = []
        self.rows = 0

    def add(self, found: pl.DataFrame) -> pl.DataFrame:
        """Take predictions with the labels of their keys; return the keys that had one."""
        told = found.filter(pl.col("event_at") <= pl.col("label_at"))
        labels = told.select(
            pl.struct("label_id", "prediction_id", "label_at")
            .map_batches(_own_ids, return_dtype=pl.String())
            .alias("label_id"),
            *("prediction_id", "label", "label_text", pl.col("label_at").alias("event_at")),
            pl.lit(self._context.job.recorded_at).alias("recorded_at"),
        )
        if labels.height:
            self._pending.append(labels)
            self.rows += labels.height
        if sum(each.height for each in self._pending) >= MOST_ROWS:
            self._write()
        return told.select(list(DIGEST)).unique()

    def close(self) -> list[StoredChunk]:
        """Return what is to be registered."""
        self._write()
        return self._chunks

    def _write(self) -> None:
        if not self._pending:
            return
        rows, self._pending = LABELS.typed(pl.concat(self._pending).sort("label_id")), []
        for part in rows.iter_slices(MOST_ROWS):
            blob = self._context.blobs.put(chunks.pack_rows(part))
            seq, stream = len(self._chunks), self._deployment
            told = chunks.describe_chunk(part, blob, kind=LABELS.kind, stream=stream, writer=WRITER, seq=seq)
            self._chunks.append(told)


def _own_ids(pairs: pl.Series) -> pl.Series:
    """Return ids of labels: the moment of the outcome, and a digest of the label that came and of the prediction."""
    ids = []
    for pair in pairs:
        text = f"{pair['label_id']} {pair['prediction_id']}"
        chance = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=10).digest())
        ids.append(encode_ulid((max(0, pair["label_at"] // 1000) & _MOST_MS) << 80 | chance))
    return pl.Series(ids, dtype=pl.String())


def _still_waiting(context: JobContext, read: _Read, met: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the labels whose predictions may still come, the newest of each key."""
    rows = pl.concat([read.waiting, read.came]).sort("label_at", maintain_order=True)
    rows = rows.unique(list(DIGEST), keep="last", maintain_order=True)
    keys = pl.concat([*met, pl.DataFrame(schema=DIGEST)]).unique().with_columns(pl.lit(value=True).alias("found"))
    rows = rows.join(keys, on=list(DIGEST), how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("is_met") | pl.col("found").fill_null(value=False)).drop("found")
    rows = rows.filter(_waits_at(context.job.recorded_at))
    return rows.sort("came_at", maintain_order=True).tail(MOST_WAITING)


def _runs(context: JobContext, found: KeyMatch, new: pl.DataFrame) -> list[KeyRun]:
    """Return the runs of the index with what is new, without those whose predictions are all gone."""
    # By event time, which a merged chunk keeps: it was stored when the newest was that went into it.
    oldest = context.call(chunks.oldest, kind=PREDICTIONS.kind, stream=found.labels.stream)
    runs = [run for run in found.runs if oldest is not None and run.event_last >= oldest]
    number = 1 + max((run.number for run in found.runs), default=0)
    blobs = context.blobs
    if new.height:
        runs.append(key_index.write_run(blobs, new, number=number, level=0))
    while small := key_index.to_merge(runs):
        number += 1
        rows = pl.concat([pl.read_parquet(blobs.path(run.digest)) for run in small])
        runs = [run for run in runs if run not in small]
        runs.append(key_index.write_run(blobs, rows, number=number, level=small[0].level + 1))
    return runs
