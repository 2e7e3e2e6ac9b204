"""The job that reads what was pushed to a dataset since the last time, and gives it to an import.

An import changes each row once. Where a row was pushed several times within the hour, its states follow each other in
imports of their own, so that it stays known which was seen when.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from loopwright import data, features
from loopwright.data import PUSHED_AT, Dataset, DatasetVersion, row_keys
from loopwright.features import DatasetPushSpec
from loopwright.loop.feeding import store_rows
from loopwright.loop.push_feed import finish_push_feed, push_feed
from loopwright.loop.stream_pages import MOST_CHUNKS, next_page
from loopwright.loop.types import FeedPushes
from loopwright.store import chunks
from loopwright.store.streams import PUSHES
from loopwright.store.types import Chunk, StreamCursor, Streams
from loopwright.store.work import JobContext, job

MOST_ROWS = 500_000
"""Pushed rows that are taken at once, but for those of the last chunk."""
MOST_STATES = 16
"""States of a row that are told apart in one feed; of more the first ones and the last are."""
_STATE = "__state"


class _Taken(NamedTuple):
    """What was read: rows, of how many chunks, up to when, and whether there is more."""

    rows: pl.DataFrame
    chunks: int
    until: int
    has_more: bool


@job(FeedPushes)
def feed_pushes(context: JobContext, args: FeedPushes) -> dict[str, Any]:
    """Have what was pushed since the last time imported; twice is once."""
    feed = context.call(push_feed, dataset=args.dataset)
    if feed is None:
        return {"rows": 0}
    context.seal(Streams(context.project, (PUSHES.kind,), args.dataset))
    dataset = context.call(data.get, dataset=args.dataset)
    version = context.call(data.newest_version, dataset=args.dataset, start_at=0, end_at=0)
    taken = _take(context, feed, _as_pushed(dataset, version))
    rows = _one_of_each_state(taken.rows, dataset.spec.key)
    now, later = rows.filter(pl.col(_STATE) == 0).drop(_STATE), rows.filter(pl.col(_STATE) > 0).drop(_STATE)
    started = context.call(
        finish_push_feed,
        dataset=args.dataset,
        since=feed.until,
        until=taken.until,
        waited=feed.waiting,
        chunks=taken.chunks,
        waiting=store_rows(context, later),
        rows=store_rows(context, _with_every_column(now, version)),
        has_more=taken.has_more,
        reason=f"{now.height} rows that were pushed",
    )
    return {"rows": now.height, "waiting": later.height, "import": None if started is None else started.job_id}


def _as_pushed(dataset: Dataset, version: DatasetVersion | None) -> DatasetPushSpec:
    """Return what tells which columns of pushed rows are moments; the import casts others, where that loses nothing."""
    spec, columns = dataset.spec, [] if version is None else version.raw or version.schema
    moments = {column.name: column.dtype for column in columns if column.dtype.startswith("Datetime")}
    time = spec.time or ""
    return DatasetPushSpec(spec.name, spec.key, time, spec.known_at, spec.transform, moments, spec.source.zone)


def _take(context: JobContext, feed: StreamCursor, spec: DatasetPushSpec) -> _Taken:
    """Read what waits and what was pushed since, in the order in which it was pushed."""
    page = next_page(context, feed, MOST_ROWS)
    frames = [pl.read_parquet(context.blobs.path(chunk.digest)) for chunk in page.chunks]
    rows = pl.DataFrame()
    if frames:
        # What is played quickly was pushed after the moment that it plays; elsewhere a gateway's clock may be ahead.
        is_replay = context.job.event_at != context.job.recorded_at
        now = context.job.event_at if is_replay else page.until
        logged = pl.concat(frames, how="diagonal_relaxed").unique(PUSHES.id_column)
        logged = logged.sort("recorded_at", PUSHES.id_column)
        at = pl.min_horizontal("recorded_at", pl.lit(now)).cast(pl.Datetime("us", "UTC"))
        rows = features.as_sent(logged, spec, keeps_misfits=True).with_columns(logged.select(at.alias(PUSHED_AT)))
        keyed = pl.DataFrame([row_keys.row_ids(rows, spec.key).alias("key"), logged["recorded_at"].alias("at")])
        rows = rows.filter(_is_last(context, keyed, feed, spec))
    if feed.waiting:
        waiting = pl.read_parquet(context.blobs.path(feed.waiting))
        rows = pl.concat([waiting, rows], how="diagonal_relaxed") if rows.height else waiting
    return _Taken(rows, len(page.chunks), page.until, page.has_more)


def _is_last(context: JobContext, rows: pl.DataFrame, feed: StreamCursor, spec: DatasetPushSpec) -> pl.Series:
    """Say of rows whether none of their key was pushed after them that is taken already, Boolean (n,).

    They lay in a spool meanwhile. An import knows when a cell was pushed and not when a whole row was; the log does.

    Args:
        context: Of the job.
        rows: ``key``, as ``row_keys`` writes it, and ``at``, when it was pushed, wall time, microseconds UTC.
        feed: Up to where the dataset has taken what is pushed.
        spec: What tells which columns of pushed rows are moments.
    """
    late = rows.filter(pl.col("at") <= feed.until)
    taken = [rows.head(0)]
    for chunk in _taken_since(context, feed, late["at"].to_list()):
        logged = pl.read_parquet(context.blobs.path(chunk.digest))
        key = row_keys.row_ids(features.as_sent(logged, spec), spec.key).alias("key")
        at = logged.select(key, pl.min_horizontal("recorded_at", pl.lit(chunk.recorded_at)).alias("at"))
        taken.append(at.join(late, on="key", how="semi"))
    last = pl.concat(taken).group_by("key").agg(pl.col("at").max().alias("last"))
    last = rows.join(last, on="key", how="left", maintain_order="left")
    return last.select((pl.col("at") >= pl.col("last")).fill_null(value=True)).to_series()


def _taken_since(context: JobContext, feed: StreamCursor, moments: list[int]) -> Iterator[Chunk]:
    """Yield the chunks that are taken already and were stored since the first of some moments."""
    asked: dict[str, Any] = {"kind": PUSHES.kind, "stream": feed.stream, "limit": MOST_CHUNKS}
    since, after = min(moments, default=feed.until + 1), ""
    while since <= feed.until:
        page = context.call(chunks.find_recorded, **asked, since=since, after=after)
        yield from (chunk for chunk in page if chunk.recorded_at <= feed.until)
        if len(page) < MOST_CHUNKS:
            return
        since, after = page[-1].recorded_at, page[-1].chunk_id


def _one_of_each_state(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Return rows without those that say again what the one before them of their key said, with ``_STATE``.

    ``_STATE`` counts the rows of a key from 0 on, int, and is at most ``MOST_STATES - 1``: those between are left out.
    """
    if not rows.height:
        return rows.with_columns(pl.lit(0).alias(_STATE)) if rows.width else pl.DataFrame(schema={_STATE: pl.Int64})
    said = rows.drop(PUSHED_AT).hash_rows().alias("__said")
    rows = rows.with_columns(said)
    is_new = pl.col("__said").ne_missing(pl.col("__said").shift(1)).over(key) | (pl.int_range(pl.len()).over(key) == 0)
    rows = rows.filter(is_new).drop("__said")
    state, count = pl.int_range(pl.len()).over(key), pl.len().over(key)
    is_kept = (state < MOST_STATES - 1) | (state == count - 1)
    return rows.with_columns(is_kept.alias("__kept")).filter("__kept").drop("__kept").with_columns(state.alias(_STATE))


def _with_every_column(rows: pl.DataFrame, version: DatasetVersion | None) -> pl.DataFrame:
    """Return rows with the columns that the dataset was read with; of those that nobody sent there is no value."""
    names = [] if version is None else [column.name for column in version.raw or version.schema]
    return rows.with_columns(pl.lit(None).alias(name) for name in names if name not in rows.columns)
