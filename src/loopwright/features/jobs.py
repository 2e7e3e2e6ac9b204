"""The job of features, done by the worker: filling the online store."""

import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec
import polars as pl

from loopwright import data
from loopwright.data import DatasetVersion, Fragment, read, reading
from loopwright.features import materialize as fills
from loopwright.features import pushed
from loopwright.features.columns import MOMENT
from loopwright.features.meanings import used_columns
from loopwright.features.online import SLACK_US, OnlineStore, OnlineStores
from loopwright.features.rows import DatasetRows
from loopwright.features.types import (
    AggregateViewSpec,
    BoundView,
    MaterializeRequest,
)
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import Unavailable
from loopwright.store import chunks, jobs
from loopwright.store.blobs import BlobStore
from loopwright.store.slices import slices
from loopwright.store.types import Streams
from loopwright.store.work import JobContext, NotYet, job, kind_of

_SEALED_WITHIN_US = DAY_US
"""How much earlier than its chunk a push may be recorded: it waits in a spool while no server is up."""


MOST_ROWS = 250_000
"""Rows that a fill holds at once; a fragment or a merged chunk has hardly more."""
_LOOK_AGAIN_S = 1.0
_Slice = tuple[pl.DataFrame, list[Fragment]]
"""Rows to fill in, and the fragments that are all in with them."""


@job(MaterializeRequest)
def materialize(context: JobContext, args: MaterializeRequest) -> dict[str, int]:
    """Fill the online store with one view; reads only fragments that the view was not filled from.

    Where the store holds what has to go, the view is filled anew beside it and then takes its place.
    """
    view = args.view
    if _is_filled_by_another(context, view):
        raise NotYet(_LOOK_AGAIN_S)
    version = context.call(data.get_version, dataset=view.view.dataset, version=args.dataset_version)
    store = OnlineStores(context.state_dir, context.online_url).open(context.project)
    try:
        rows, entities = _fill(context, args, version, store)
    finally:
        store.close()
    context.call(
        fills.finish_materialize,
        job_id=context.job.job_id,
        view=view,
        dataset_version=version.version,
        rows=rows,
        entities=entities,
        reason=args.reason,
    )
    return {"rows": rows, "entities": entities}


def _fill(
    context: JobContext, args: MaterializeRequest, version: DatasetVersion, store: OnlineStore
) -> tuple[int, int]:
    """Fill a store with one view; return how many rows were read and how many entities it holds.

    Raises:
        NotYet: It lost what was filled in until then, or nobody knows by what it is known.
    """
    tried = store.try_out()
    if not tried.name:
        raise NotYet(_LOOK_AGAIN_S)  # others write all the time
    try:
        rows = _fill_rows(context, args, version, store, tried.name)
        entities = store.finish(args.view.key, tried.name)
    except Unavailable:
        if store.try_out(tried).name != tried.name:
            raise NotYet(_LOOK_AGAIN_S) from None
        raise
    return rows, entities


def _fill_rows(
    context: JobContext, args: MaterializeRequest, version: DatasetVersion, store: OnlineStore, name: str
) -> int:
    view, marks = args.view, _marks(version)
    done = store.filled(view.key)
    fresh, generation = [fragment for fragment, mark in marks if mark not in done], None
    if args.reset or _is_outdated(context, view, version, fresh, done - {mark for _, mark in marks}, bool(done)):
        fresh, generation = version.fragments, store.grow(view.key)
    context.progress(f"{len(fresh)} of {len(version.fragments)} fragments to read")
    until_us, rows = args.until_us + DAY_US, 0
    of_version = _version_slices(view, version, fresh, context.blobs, until_us)
    mark_of = {fragment.place: mark for fragment, mark in marks}
    for frame, whole in chain(of_version, _pushed_slices(context, view, version)):
        filled = store.fill(view, frame, [mark_of[fragment.place] for fragment in whole], until_us, generation, name)
        rows += filled.rows
        context.progress(f"{rows:,} rows")
    if generation is not None:
        store.switch(generation)
    return rows


def _is_filled_by_another(context: JobContext, view: BoundView) -> bool:
    """Say whether an older job fills this view right now: the two would begin anew in place of each other."""
    running = context.call(jobs.list_jobs, states=["running"], kind=kind_of(MaterializeRequest).name)
    older = [convert(each.args, MaterializeRequest) for each in running if each.job_id < context.job.job_id]
    return any(each.view.key == view.key for each in older)


def _marks(version: DatasetVersion) -> list[tuple[Fragment, str]]:
    """Return the fragments, each with what the store remembers it by.

    That is its digest; of alike bytes in several places, such as of rows that went and came again, also which it is.
    """
    seen: dict[str, int] = {}
    marks = []
    for fragment in version.fragments:
        number = seen[fragment.digest] = seen.get(fragment.digest, -1) + 1
        marks.append((fragment, f"{fragment.digest}#{number}" if number else fragment.digest))
    return marks


def _is_outdated(
    context: JobContext,
    view: BoundView,
    version: DatasetVersion,
    fresh: list[Fragment],
    gone: set[str],
    was_filled: bool,
) -> bool:
    """Say whether the store holds what it cannot be told to take back, so that it has to be filled anew.

    Nothing tells which of its values came from rows that went, nor that one was known only after another had replaced
    it: it was filled in as known when the declaration says.
    """
    if any(fragment.kind == "removed" for fragment in fresh):
        return True
    if gone and context.call(data.get, dataset=version.dataset).newest == version.version:
        return True  # it was replaced; an older version than the newest lacks what came since, and nothing has to go
    cells = [fragment for fragment in fresh if fragment.kind == "cells"]
    if not cells or not was_filled:
        return False
    there = {column.name for column in version.schema}
    columns = dict.fromkeys([*view.dataset.key, view.dataset.time, view.view.entity, *used_columns(view.view)])
    moments = [moment.column for moment in view.dataset.known_at.values()]
    rows = read.stages(
        version, context.blobs, [name for name in (*columns, *moments) if name in there], cells
    ).collect()
    return DatasetRows(view.dataset, rows).has_overtaken(used_columns(view.view))


def _version_slices(
    view: BoundView, version: DatasetVersion, fresh: list[Fragment], blobs: BlobStore, until_us: int
) -> Iterator[_Slice]:
    """Yield the rows that can still answer: of windows by event time, those no older than the longest.

    Of rows that changed every state is there, as each was the answer for a time.
    """
    time, known = view.dataset.time, view.dataset.known_at.values()
    used = used_columns(view.view)
    names = dict.fromkeys([*view.dataset.key, time, view.view.entity, *used, *(moment.column for moment in known)])
    there = {column.name for column in version.schema}
    columns = [name for name in names if name in there]
    oldest = None
    if isinstance(view.view, AggregateViewSpec) and view.view.counts == "event" and version.fragments:
        newest = max(fragment.event_at_max or until_us for fragment in version.fragments)
        oldest = min(newest, until_us) - max(view.view.windows_us) - SLACK_US
    above = [fragment for fragment in version.fragments if fragment.kind != "rows"]
    whole = [fragment for fragment in fresh if fragment.kind == "rows"]
    places = {fragment.place for fragment in whole}
    parts: list[tuple[DatasetVersion, list[Fragment], list[Fragment] | None]] = [
        (msgspec.structs.replace(version, fragments=[*part, *above]), part, None) for part in slices(whole, MOST_ROWS)
    ]
    for cells in fresh:
        if cells.kind != "rows":
            is_read = places.issuperset(cells.targets)  # with the rows that it is of
            parts.append((version, [cells], [] if is_read else [cells]))
    for opened, part, changed in parts:
        rows = read.stages(opened, blobs, columns, changed)
        if oldest is not None:
            rows = rows.filter(pl.col(time) >= pl.lit(oldest).cast(MOMENT))
        # A fragment with rows that are still to come is read again, until all of them are in.
        yield rows.collect(), [each for each in part if each.kind != "rows" or _has_come(each, until_us)]


def _has_come(fragment: Fragment, until_us: int) -> bool:
    return fragment.event_at_max is not None and fragment.event_at_max <= until_us


def _pushed_slices(context: JobContext, view: BoundView, version: DatasetVersion) -> Iterator[_Slice]:
    """Yield what was pushed since the version before this one, transformed: a version may come later than its rows.

    Of a dataset with personal columns the log holds no whole rows: they come with the next version.
    """
    if context.call(data.get, dataset=version.dataset).spec.personal:
        return
    context.seal(Streams(context.project, ("pushes",), version.dataset))
    before = context.call(data.version_before, dataset=version.dataset, version=version.version)
    since = 0 if before is None else before.recorded_at
    recent = context.call(chunks.find, kind="pushes", stream=version.dataset, recorded_since=since)
    logged = {chunk.chunk_id: pl.scan_parquet(context.blobs.path(chunk.digest)) for chunk in recent}
    # Columns and dtypes of all: a slice may lack what only others have.
    schema = pl.concat(logged.values(), how="diagonal_relaxed").collect_schema() if logged else pl.Schema()
    for part in slices(recent, MOST_ROWS):
        frames = [pl.LazyFrame(schema=schema), *(_since(logged[chunk.chunk_id], since) for chunk in part)]
        rows = pushed.as_sent(pl.concat(frames, how="diagonal_relaxed").collect(), view.dataset)
        if rows.height:
            yield _transformed(context, rows, view.dataset.transform), []


def _transformed(context: JobContext, rows: pl.DataFrame, transform: CodeRef | None) -> pl.DataFrame:
    if transform is None:
        return rows
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "raw.parquet", Path(folder) / "out.parquet"
        rows.write_parquet(raw)
        context.transform(transform, raw, out)
        return reading.read_frame(context, out, what="what the transform returned")


def _since(logged: pl.LazyFrame, since: int) -> pl.LazyFrame:
    """Leave out what was pushed before: a chunk that was merged holds hours of pushes."""
    return logged.filter(pl.col("recorded_at") >= since - _SEALED_WITHIN_US)
