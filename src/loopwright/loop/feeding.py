"""The job that finds the rows of labels: by the key that was logged with the prediction.

Labels come for years, and all of them are looked at again when a dataset's rows are replaced. So they are taken some at
a time, and what belongs together is put beside each other in files: labels of one prediction, labels of one row.
"""

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from loopwright import data
from loopwright.data import DatasetVersion, read, row_keys
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import NotFound
from loopwright.kernel.tasks import class_name
from loopwright.loop.label_feed import KNOWN_AT, UNSEALED_US, finish_label_feed, label_feed
from loopwright.loop.types import FeedLabels, LabelFeed
from loopwright.serving import predictions
from loopwright.store import chunks
from loopwright.store.intervals import join_ranges
from loopwright.store.slices import slices
from loopwright.store.streams import KEYED_LABELS, LABELS, PREDICTIONS
from loopwright.store.types import BlobRef, Chunk, Streams
from loopwright.store.work import JobContext, job

MOST_ROWS = 250_000
"""Rows of the log, of labels and of the dataset that are held at once."""
MOST_CHUNKS = 5_000
"""Chunks that are listed at once."""
MOST_FED = 1_000_000
"""Labels that one import takes, for it holds their rows as a whole; it is soon followed by the next."""
_LATE_US = DAY_US
"""Chunks that were stored this much before the newest are looked at again: a server's clock may have been wrong."""
_MOST_RANGES, _MOST_RUNS = 16, 1_000
_WAITING = {
    "prediction_id": pl.String(),
    "row_key": pl.String(),
    "label": pl.Float64(),
    "label_text": pl.String(),
    "label_at": pl.Int64(),
    "came_at": pl.Int64(),
}
"""Labels that a version does not say yet; ``row_key`` is null where the log does not hold the prediction yet,
``prediction_id`` where the label names its row."""

_NO_KEY, _NO_PREDICTION = (pl.lit(None, pl.String).alias(name) for name in ("row_key", "prediction_id"))
_KINDS = (LABELS.kind, KEYED_LABELS.kind)


class _Pile:
    """Rows in files, in parts of which each is held at once: equal values of a column are in the part of one number."""

    def __init__(self, folder: Path, by: str, parts: int) -> None:
        folder.mkdir()
        self._folder, self._by, self._parts = folder, by, parts
        self._files = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Put more rows behind those that are there."""
        part = rows[self._by].hash() % self._parts
        for number in part.unique():
            self._files += 1
            rows.filter(part == number).write_parquet(self._folder / f"{number}-{self._files:09}.parquet")

    def parts(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield number and rows of each part that there is, in the order in which they came."""
        for number in range(self._parts):
            if files := sorted(self._folder.glob(f"{number}-*.parquet")):
                yield number, pl.read_parquet(files)

    def part(self, number: int) -> Iterator[pl.DataFrame]:
        """Yield the rows of one part as they came."""
        return map(pl.read_parquet, sorted(self._folder.glob(f"{number}-*.parquet")))

    @property
    def is_one(self) -> bool:
        """Whether there is one part only."""
        return self._parts == 1

    def store(self, context: JobContext) -> BlobRef | None:
        """Store all of them as one blob; None if there are none."""
        if not self._files:
            return None
        whole = self._folder / "whole"
        pl.scan_parquet(sorted(self._folder.glob("*.parquet"))).sink_parquet(whole, compression="zstd")
        return context.blobs.put_file(whole)


class _Look(NamedTuple):
    """Labels whose row is known, those whose prediction the log does not hold, and those that are to wait; and rows."""

    context: JobContext
    found: LabelFeed
    met: _Pile
    unmet: _Pile
    waiting: _Pile
    rows: _Pile


@job(FeedLabels)
def feed(context: JobContext, args: FeedLabels) -> dict[str, Any]:
    """Complete the rows that labels are of; those that no version says yet wait until one does. Twice is once."""
    found = context.call(label_feed, deployment=args.deployment)
    if found is None:
        return {"labels": 0}
    context.seal(Streams(context.project, (PREDICTIONS.kind, *_KINDS), args.deployment))
    came = (chunk.rows for kind in _KINDS for page in _labels(context, found, kind) for chunk in page)
    rows = _count_waiting(context, found) + sum(came)
    parts = 1 + rows // MOST_ROWS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        met, unmet = _Pile(folder / "met", "row_key", parts), _Pile(folder / "unmet", "prediction_id", parts)
        waiting, stored = _Pile(folder / "waiting", "prediction_id", 1), _Pile(folder / "rows", row_keys.ROW_ID, parts)
        look = _Look(context, found, met, unmet, waiting, stored)
        _take_waiting(look)
        return _finish(look, since=_take_new(look))


def _finish(look: _Look, since: int) -> dict[str, Any]:
    context, found = look.context, look.found
    given, waiting, has_more = _split_all(look)
    for _, rows in look.unmet.parts():
        first_at = pl.col("came_at").min().over("prediction_id")
        unmet = _newest(rows.with_columns(first_at), "prediction_id")
        unmet = unmet.filter(pl.col("came_at") > context.job.recorded_at - UNSEALED_US)
        waiting += unmet.height
        look.waiting.add(unmet)
    count = given.height
    context.call(
        finish_label_feed,
        deployment=found.deployment,
        replacements=found.replacements,
        since=since,
        looked_at=context.job.recorded_at,
        waiting=look.waiting.store(context),
        rows=store_rows(context, given),
        has_more=has_more,
        reason=f"{count} labels of {found.deployment}",
    )
    return {"labels": count, "waiting": waiting}


def store_rows(context: JobContext, rows: pl.DataFrame) -> BlobRef | None:
    """Store rows that an import is given as a blob; None where there are none."""
    if not rows.height:
        return None
    body = io.BytesIO()
    rows.write_parquet(body, compression="zstd", compression_level=1)
    return context.blobs.put(body.getvalue())


def _count_waiting(context: JobContext, found: LabelFeed) -> int:
    if not found.waiting:
        return 0
    count: int = pl.scan_parquet(context.blobs.path(found.waiting)).select(pl.len()).collect().item()
    return count


def _take_waiting(look: _Look) -> None:
    """Put labels that waited where they belong by now."""
    context, found = look.context, look.found
    # Chunks that were there at the last look do not hold what was not found then.
    since = found.looked_at - _LATE_US
    for start in range(0, _count_waiting(context, found), MOST_ROWS):
        rows = pl.scan_parquet(context.blobs.path(found.waiting)).slice(start, MOST_ROWS).collect()
        look.met.add(rows.filter(pl.col("row_key").is_not_null()))
        _find_keys(look, rows.filter(pl.col("row_key").is_null()), since)


def _take_new(look: _Look) -> int:
    """Put labels that came since where they belong; return from when on to look next."""
    context, found = look.context, look.found
    came_at = pl.lit(context.job.recorded_at).alias("came_at")
    newest = found.since
    for page in _labels(context, found, LABELS.kind):
        newest = max(newest, page[-1].recorded_at)
        for part in slices(page, MOST_ROWS):
            came = predictions.latest_labels(part, context.blobs).with_columns(came_at, _NO_KEY)
            _find_keys(look, came.select(list(_WAITING)).collect())
    # A row may have an outcome without ever having been predicted.
    for page in _labels(context, found, KEYED_LABELS.kind):
        newest = max(newest, page[-1].recorded_at)
        for part in slices(page, MOST_ROWS):
            came = predictions.latest_keyed_labels(part, context.blobs).with_columns(came_at, _NO_PREDICTION)
            look.met.add(came.select(list(_WAITING)).collect())
    return newest


def _labels(context: JobContext, found: LabelFeed, kind: str) -> Iterator[list[Chunk]]:
    """Yield the chunks of labels that were not taken yet in the order in which they were stored, some at a time."""
    since, after = max(0, found.since - _LATE_US), ""
    while page := context.call(
        chunks.find_recorded, kind=kind, stream=found.deployment, since=since, after=after, limit=MOST_CHUNKS
    ):
        yield page
        since, after = page[-1].recorded_at, page[-1].chunk_id


def _find_keys(look: _Look, labels: pl.DataFrame, since: int = 0) -> None:
    """Put labels where they belong, by what the log holds of their predictions in chunks stored ``since`` or later."""
    ids, unmet = labels["prediction_id"].unique().sort(), labels.drop("row_key")
    met = [labels.clear()]
    for page in _logged(look, ids):
        meeting = [chunk for chunk in page if chunk.recorded_at >= since and _meets(ids, chunk.id_first, chunk.id_last)]
        for part in predictions.parts(meeting, MOST_ROWS) if meeting else []:
            rows = predictions.scan(part.chunks, look.context.blobs, columns=["prediction_id", "row_key", "is_shadow"])
            served = part.within(rows).filter(~pl.col("is_shadow")).drop("is_shadow")
            met.append(served.join(unmet.lazy(), on="prediction_id").select(list(_WAITING)).collect())
            unmet = unmet.join(met[-1], on="prediction_id", how="anti")
    look.met.add(pl.concat(met).drop_nulls("row_key"))
    look.unmet.add(unmet.with_columns(_NO_KEY).select(list(_WAITING)))


def _logged(look: _Look, ids: pl.Series) -> Iterator[list[Chunk]]:
    """Yield the chunks of predictions that may hold some of the ids, which are sorted, and others, some at a time."""
    ask, stream = look.context.call, look.found.deployment
    seen: set[str] = set()
    for first, last in id_ranges(ids):
        after, limit = "", MOST_CHUNKS
        # By their last ids: where chunks are merged meanwhile, what was not seen yet stays ahead.
        while page := ask(
            chunks.find_ending, kind="predictions", stream=stream, first=first, last=last, after=after, limit=limit
        ):
            yield [chunk for chunk in page if chunk.chunk_id not in seen]
            first, after = page[-1].id_last, page[-1].chunk_id
        around = ask(chunks.find, kind="predictions", stream=stream, item_id=last)
        yield [chunk for chunk in around if chunk.chunk_id not in seen]
        # One that holds the end of a range may reach into others; those that lie inside are in no other.
        seen.update(chunk.chunk_id for chunk in around)


def id_ranges(ids: pl.Series) -> list[tuple[str, str]]:
    """Return few ranges that hold all of some sorted ids."""
    run = max(1, len(ids) // _MOST_RUNS)
    runs = (ids.slice(start, run) for start in range(0, len(ids), run))
    return join_ranges(((each[0], each[-1]) for each in runs), _MOST_RANGES)


def _newest(labels: pl.DataFrame, of: str) -> pl.DataFrame:
    return labels.sort("label_at", maintain_order=True).unique(of, keep="last")


def _meets(ids: pl.Series, first: str, last: str) -> bool:
    at = int(ids.search_sorted(first, side="left"))
    return at < len(ids) and ids[at] <= last


def _split_all(look: _Look) -> tuple[pl.DataFrame, int, bool]:
    """Return the rows to complete, how many labels have no row yet, and whether there are more than one import takes.

    Labels that a version is still to say wait, those that are given to it now among them.
    """
    try:
        version = look.context.call(data.get_version, dataset=look.found.dataset)
    except NotFound:  # nothing was imported yet
        version = None
    given: list[pl.DataFrame] = []
    count = absent_count = 0
    has_more = False
    stored = None if version is None else _values_by_part(look, version)
    for number, rows in look.met.parts():
        keyed = _newest(rows, "row_key")
        has_more = count >= MOST_FED
        if has_more or version is None or stored is None:
            look.waiting.add(keyed)
            absent_count += keyed.height
            continue
        fresh, absent = _split(look, version, keyed, stored(number))
        look.waiting.add(absent)
        look.waiting.add(keyed.join(fresh, left_on="row_key", right_on="row_id", how="semi"))
        given += [fresh.drop("row_id")] if fresh.height else []
        count, absent_count = count + fresh.height, absent_count + absent.height
    return _together(given, look.found.column), absent_count, has_more


def _together(given: list[pl.DataFrame], column: str) -> pl.DataFrame:
    if len({rows.schema[column] for rows in given}) > 1:  # no outcome so far, and texts among the labels of some parts
        given = [
            rows if rows.schema[column] == pl.String else rows.with_columns(_as_texts(rows[column])) for rows in given
        ]
    return pl.concat(given) if given else pl.DataFrame()


def _values_by_part(look: _Look, version: DatasetVersion) -> Callable[[int], Iterable[pl.DataFrame]]:
    """Return what tells of the rows of a version whose labels are in a part; the version is read once for all parts."""
    if look.met.is_one:
        return lambda _: _values(look, version)
    for rows in _values(look, version):
        look.rows.add(rows)
    return look.rows.part


def _split(
    look: _Look, version: DatasetVersion, labels: pl.DataFrame, rows: Iterable[pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows to complete, ``row_id`` and their labels, and the labels whose rows are not there.

    A label that says what the row says already is neither, nor is one from before what the row says.
    """
    assert version.spec is not None
    key, column = version.spec.key, look.found.column
    there = [
        stored.join(labels, left_on="row_id", right_on="row_key", how="inner", maintain_order="left") for stored in rows
    ]
    if not there:
        return pl.DataFrame(schema={"row_id": pl.String()}), labels
    met = pl.concat(there)
    absent = labels.join(met, left_on="row_key", right_on="row_id", how="anti")
    said = _as_column(met, met.schema[column]).alias("said")
    was = pl.col(column)
    is_later = was.is_null() | (pl.col("label_at") > pl.col(read.KNOWN_AT).fill_null(0))
    fresh = met.with_columns(said).filter(pl.col("said").is_not_null() & pl.col("said").ne_missing(was) & is_later)
    at = pl.min_horizontal("label_at", pl.lit(look.context.job.event_at)).cast(pl.Datetime("us", "UTC"))
    return fresh.select("row_id", *key, pl.col("said").alias(column), at.alias(KNOWN_AT)), absent


def _values(look: _Look, version: DatasetVersion) -> Iterator[pl.DataFrame]:
    """Yield what the rows of a version say in the labels' column, with ``row_id``, some rows at a time."""
    assert version.spec is not None
    above = [fragment for fragment in version.fragments if fragment.kind != "rows"]
    for part in slices((each for each in version.fragments if each.kind == "rows"), MOST_ROWS):
        opened = msgspec.structs.replace(version, fragments=[*part, *above])
        rows = read.newest_values(opened, look.context.blobs, look.found.column).collect()
        yield rows.with_columns(row_keys.row_ids(rows, version.spec.key))


def _as_column(labels: pl.DataFrame, dtype: pl.DataType) -> pl.Series:
    """Return labels in the dtype of the column that they complete; null where it cannot hold one.

    A column without a value so far has no dtype yet: it becomes one of numbers, or of texts where a label is one.
    """
    numbers, texts = labels["label"].fill_nan(None), labels["label_text"]
    if dtype == pl.String or (dtype == pl.Null and texts.null_count() < len(texts)):
        return texts.zip_with(texts.is_not_null(), _as_texts(numbers))
    numbers = numbers.zip_with(numbers.is_not_null(), texts.cast(pl.Float64, strict=False))
    if dtype == pl.Null or dtype.is_float():
        return numbers if dtype == pl.Null else numbers.cast(dtype)
    cast = numbers.cast(dtype, strict=False)
    return cast.zip_with((cast.cast(pl.Float64) == numbers).fill_null(value=False), pl.Series([None], dtype=dtype))


def _as_texts(numbers: pl.Series) -> pl.Series:
    names = [None if number is None else class_name(number) for number in numbers]
    return pl.Series(numbers.name, names, pl.String)
