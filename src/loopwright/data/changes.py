"""Building a version from rows that change others by key: upsert, complete, delete. Touches blobs, never the database.

What is stored is what changed: cells of rows that are there, whole rows of new keys, places of rows that go. A value
that fills a gap became known when the declaration says so, if that moment came with it, else when the value came; one
that takes the place of another became known when it came, for nobody could know it before.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopwright.data import profiles, read
from loopwright.data.checking import Checked, Checker, check_here
from loopwright.data.columns import align, schema_of
from loopwright.data.dtypes import parse_dtype
from loopwright.data.fingerprints import hash_columns, row_hashes, sum_rows
from loopwright.data.imports import (
    drop_repeats,
    fragments_with,
    refuse_keys,
    refuse_schema,
    time_range,
    to_parquet,
    write_fragments,
)
from loopwright.data.keys import KeyIndex
from loopwright.data.known import known_moment
from loopwright.data.layers import CAME, KNOWN, MOST_FRAGMENT_ROWS, PLACE, ROW, TARGET, Layers
from loopwright.data.row_sums import add_row_sums, subtract_row_sums
from loopwright.data.types import (
    PUSHED_AT,
    ColumnSchema,
    DatasetSpec,
    DatasetVersion,
    Fragment,
    ImportedRows,
    ImportRequest,
)
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.suggestions import nearest
from loopwright.store.blobs import BlobStore

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class _Cells(NamedTuple):
    """Rows that change: ``before`` and ``after`` with all columns, and by column which values came, and when."""

    before: pl.DataFrame
    after: pl.DataFrame
    place: Ints
    given: dict[str, tuple[Flags, Ints]]


class _Change(NamedTuple):
    """What rows do to a version: cells that come, rows that go and rows that come; and how many change nothing."""

    cells: _Cells
    gone: pl.DataFrame
    gone_place: Ints
    new: pl.DataFrame
    unchanged: int


def build_change(
    frame: pl.DataFrame,
    request: ImportRequest,
    parent: DatasetVersion,
    blobs: BlobStore,
    now_us: int,
    index: KeyIndex | None = None,
    check: Checker = check_here,
) -> ImportedRows:
    """Turn rows into what they change of ``parent``, the newest ready version.

    Args:
        frame: The rows, after ``admit``.
        request: What to do.
        parent: With all its fragments.
        blobs: Where fragments are stored.
        now_us: The project's present moment, microseconds UTC.
        index: What is known of the keys of the parent's fragments; added to.
        check: Runs the checks.

    Raises:
        InvalidInput: A column or dtype does not fit; a key comes twice or, of ``complete``, is not there, or has
            another value already.
    """
    spec = request.spec
    index = KeyIndex(spec.key) if index is None else index
    height, frame = frame.height, _take_known(frame, request, parent, now_us)
    frame, schema = _fit(frame, request, parent)
    frame = drop_repeats(frame.sort(spec.key), spec)
    opened = fragments_with(frame, row_hashes(frame.select(spec.key)), spec, parent, blobs, index)
    layers = Layers(opened, {column.name: parse_dtype(column.dtype) for column in schema}, blobs)
    change = _find_change(frame, request, parent, layers, [column.name for column in schema], now_us)
    added = write_fragments(change.new, spec.time, blobs)
    if spec.time not in spec.key:
        index.remember(added, row_hashes(change.new.select(spec.key)))
        index.save([*parent.fragments, *added])
    stored = [*_store_cells(change.cells, layers, spec, blobs), *_store_gone(change, layers, spec, blobs), *added]
    shown = pl.concat([change.cells.after, change.new])
    checks, failing = check(shown, spec, now_us) if shown.height else Checked([], None)
    came = add_row_sums(_sum(change.cells.after), _sum(change.new))
    went = add_row_sums(_sum(change.cells.before), _sum(change.gone))
    return ImportedRows(
        dataset=spec.name,
        operation=request.operation,
        parent=parent.version,
        spec=spec,
        schema=schema,
        fragments=stored,
        rows=change.new.height - change.gone.height,
        row_sum=subtract_row_sums(came, went),
        profile=blobs.put(profiles.to_bytes(_profile(parent, change, stored, schema, blobs))),
        checks=checks,
        failing=blobs.put(to_parquet(failing)) if failing is not None and failing.height else None,
        dropped_rows=height - frame.height + change.unchanged,
        reason=request.reason,
        raw=parent.raw,
        changed_rows=change.cells.after.height,
    )


def _sum(rows: pl.DataFrame) -> str:
    return sum_rows(row_hashes(rows)) if rows.height else ""


def _take_known(frame: pl.DataFrame, request: ImportRequest, parent: DatasetVersion, now_us: int) -> pl.DataFrame:
    """Put when the rows' values became known, if they tell, into a column of its own."""
    name = request.known_at
    if name is None or request.operation == "delete":
        return frame
    rule = "a column of moments in a time zone, none missing and none in the future"
    wrong = InvalidInput("nobody can tell when these values became known", field="known_at", value=name, rule=rule)
    if name not in frame.columns or not isinstance(dtype := frame.schema[name], pl.Datetime) or not dtype.time_zone:
        raise wrong
    came = frame[name].dt.epoch("us").alias(CAME)
    if came.null_count() or (came > now_us).any():
        raise wrong
    is_stored = any(column.name == name for column in parent.schema)
    return (frame if is_stored else frame.drop(name)).with_columns(came)


def _fit(
    frame: pl.DataFrame, request: ImportRequest, parent: DatasetVersion
) -> tuple[pl.DataFrame, list[ColumnSchema]]:
    """Return the rows in the dtypes that the version has, and the schema of the version that they make."""
    key = request.spec.key
    if request.operation == "delete":
        frame = frame.select(key)
    hidden = frame.select(name for name in frame.columns if name == CAME)
    frame = frame.drop(hidden.columns)
    before = [column for column in parent.schema if request.operation == "upsert" or column.name in frame.columns]
    frame, misfits = align(frame, before)
    if misfits:
        raise refuse_schema(request.spec.name, misfits)
    if request.operation == "complete" and len(frame.columns) == len(key):
        rule = f"{', '.join(key)} and a column to fill"
        raise InvalidInput("these rows say nothing but their keys", field="rows", rule=rule)
    if request.operation == "complete":
        _refuse_misspelt(frame.columns, request.spec.name, parent)
    now = {column.name: column for column in schema_of(frame)}
    merged = [now.get(column.name, column) if column.dtype == "Null" else column for column in parent.schema]
    known = {column.name for column in parent.schema}
    return frame.hstack(hidden), [*merged, *(column for name, column in now.items() if name not in known)]


def _refuse_misspelt(names: Sequence[str], dataset: str, parent: DatasetVersion) -> None:
    """Refuse a new column that is named nearly like one that is there: every later append would have to have it too."""
    known = [column.name for column in parent.schema]
    others = [name for name in known if name not in names]
    for name in names:
        if name not in known and (near := nearest(name, others)) and _is_slip(name, near):
            raise InvalidInput(
                f"dataset {dataset} has no column {name}",
                field=name,
                value=name,
                rule="a column that is there, or a new one that is not named nearly like one",
                next_step=f"did you mean {near}? A new column of such a name is sent together with {near}",
            )


def _is_slip(name: str, near: str) -> bool:
    """Say whether one name is likely meant for the other: ``piad`` for ``paid``, not ``paid_at``, nor ``score_2``."""
    return abs(len(name) - len(near)) <= 1 and name.rstrip("0123456789") != near.rstrip("0123456789")


def _find_change(
    frame: pl.DataFrame,
    request: ImportRequest,
    parent: DatasetVersion,
    layers: Layers,
    names: Sequence[str],
    now_us: int,
) -> _Change:
    spec, keys = request.spec, frame.select(request.spec.key)
    known = layers.scan(names, has_place=True).join(keys.lazy(), on=spec.key, how="semi").collect()
    pairs = known.select(spec.key).with_row_index("__old").join(keys.with_row_index("__row"), on=spec.key, how="inner")
    pairs = pairs.sort("__old")
    before, rows = known[pairs["__old"]], frame[pairs["__row"]]
    place, before = before[PLACE].cast(pl.Int64).to_numpy(), before.drop(PLACE)
    others = frame.filter(~pl.Series(np.isin(np.arange(frame.height), pairs["__row"].to_numpy())))
    nothing = _Cells(before.clear(), before.clear(), place[:0], {})
    if request.operation == "delete":
        return _Change(nothing, before, place, before.clear(), others.height)
    if request.operation == "complete" and others.height:
        what = f"are not in version {parent.version}, so there is nothing to complete"
        raise refuse_keys(others, spec, what, "a row is there before it is completed", "append or upsert whole rows")
    given = _given(before, rows, request, parent, now_us)
    if request.known_at == PUSHED_AT:
        given = _without_overtaken(given, before, rows, place, layers, spec)
    is_moved = np.zeros(before.height, np.bool_) if spec.time not in given else given[spec.time][0]
    is_changed = np.zeros(before.height, np.bool_)
    for is_given, _ in given.values():
        is_changed |= is_given
    after = _after(before, rows, given)
    # A row whose event time moves lies in another stretch of time: it goes, and comes anew.
    cells, moved = np.flatnonzero(is_changed & ~is_moved), np.flatnonzero(is_moved)
    kept = {name: (flags[cells], at[cells]) for name, (flags, at) in given.items() if flags[cells].any()}
    new = pl.concat([after[moved], _whole(others, after)]).sort([*([spec.time] if spec.time else []), *spec.key])
    unchanged = int((~is_changed).sum())
    return _Change(_Cells(before[cells], after[cells], place[cells], kept), before[moved], place[moved], new, unchanged)


def _whole(rows: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the columns and dtypes of others; what they do not say is null."""
    said = [pl.col(name).cast(dtype) for name, dtype in like.schema.items() if name in rows.columns]
    return pl.concat([like.clear(), rows.select(said)], how="diagonal")


def _given(
    before: pl.DataFrame, rows: pl.DataFrame, request: ImportRequest, parent: DatasetVersion, now_us: int
) -> dict[str, tuple[Flags, Ints]]:
    """Return by column which of the rows get another value, bool (n,), and when each became known, int64 (n,).

    Args:
        before: The rows as they are, all columns.
        rows: The same rows as they came.
        request: What to do.
        parent: The version that ``before`` is of.
        now_us: The project's present moment.

    Raises:
        InvalidInput: ``complete`` would change a value that is there, or move a row in time.
    """
    spec, is_complete = request.spec, request.operation == "complete"
    names = [name for name in rows.columns if name not in (*spec.key, CAME)]
    old, new = hash_columns(before.select(names)), hash_columns(rows.select(names))
    was_gap = {name: _is_missing(before[name]) for name in names}
    given: dict[str, tuple[Flags, Ints]] = {}
    for name in names:
        is_given = old[name] != new[name]
        if is_complete:
            is_given &= ~_is_missing(rows[name])
            if (taken := is_given & ~was_gap[name]).any() and (name == spec.time or not request.corrects):
                next_step = (
                    "upsert the whole rows" if name == spec.time else "say that they are corrections, or upsert them"
                )
                rule = "complete fills in what is missing"
                what = f"have another {name} in version {parent.version}"
                raise refuse_keys(rows.filter(pl.Series(taken)), spec, what, rule, next_step)
        if is_given.any():
            given[name] = is_given, np.full(len(is_given), now_us)
    for name, (is_given, at) in list(given.items()):
        if CAME in rows.columns:
            at = rows[CAME].to_numpy()
        elif name in spec.known_at or "*" in spec.known_at:
            declared = known_moment(spec, name)
            if declared.column in given:
                moment = rows[declared.column].dt.epoch("us").fill_null(now_us - declared.after_us).to_numpy()
                came_with = given[declared.column][0] & was_gap[declared.column] & was_gap[name]
                at = np.where(came_with, moment + declared.after_us, np.maximum(moment + declared.after_us, now_us))
        given[name] = is_given, at
    return given


def _without_overtaken(
    given: dict[str, tuple[Flags, Ints]],
    before: pl.DataFrame,
    rows: pl.DataFrame,
    place: Ints,
    layers: Layers,
    spec: DatasetSpec,
) -> dict[str, tuple[Flags, Ints]]:
    """Leave out values that were pushed, and rows that by their own account were known, before what is there.

    They lay in a spool, or went by another gateway, while others overtook them.
    """
    came, kept = rows[CAME].to_numpy(), {}
    is_old = np.zeros(rows.height, np.bool_)
    for name in {moment.column for moment in spec.known_at.values()} & {*before.columns} & {*rows.columns}:
        is_old |= (rows[name] < before[name].cast(rows.schema[name])).fill_null(value=False).to_numpy()
    for name, (is_given, at) in given.items():
        is_later = is_given & ~is_old & (came >= layers.known_at(name, place))
        if is_later.any():
            kept[name] = is_later, at
    return kept


def _is_missing(column: pl.Series) -> Flags:
    missing = column.is_null()
    if column.dtype.is_float():
        missing |= column.is_nan().fill_null(value=False)
    return missing.to_numpy()


def _after(before: pl.DataFrame, rows: pl.DataFrame, given: dict[str, tuple[Flags, Ints]]) -> pl.DataFrame:
    changed = [
        rows[name].cast(before.schema[name]).zip_with(pl.Series(is_given), before[name]).alias(name)
        for name, (is_given, _) in given.items()
    ]
    return before.with_columns(changed)


def _store_cells(cells: _Cells, layers: Layers, spec: DatasetSpec, blobs: BlobStore) -> list[Fragment]:
    columns = []
    for name, (is_given, at) in cells.given.items():
        is_said = pl.Series(is_given)
        nothing = pl.Series([None], dtype=cells.after.schema[name])
        columns += [
            cells.after[name].zip_with(is_said, nothing).alias(name),
            pl.Series(KNOWN + name, at).zip_with(is_said, pl.Series([None], dtype=pl.Int64)),
        ]
    return _store(cells.after.select(columns), "cells", cells.after, cells.place, layers, spec, blobs)


def _store_gone(change: _Change, layers: Layers, spec: DatasetSpec, blobs: BlobStore) -> list[Fragment]:
    return _store(change.gone.select([]), "removed", change.gone, change.gone_place, layers, spec, blobs)


def _store(
    said: pl.DataFrame,
    kind: str,
    rows: pl.DataFrame,
    place: Ints,
    layers: Layers,
    spec: DatasetSpec,
    blobs: BlobStore,
) -> list[Fragment]:
    """Store what is said of rows at these places, as fragments of a kind."""
    fragments = []
    order = np.argsort(place, kind="stable")
    for start in range(0, len(place), MOST_FRAGMENT_ROWS):
        part = order[start : start + MOST_FRAGMENT_ROWS]
        targets, target, row = layers.targets_of(place[part])
        columns = [pl.Series(TARGET, target), pl.Series(ROW, row), *(said[part].get_columns() if said.width else [])]
        ref = blobs.put(to_parquet(pl.DataFrame(columns)))
        start_at, end_at = time_range(rows[part], spec.time)
        newest = None if end_at is None else end_at - 1
        fragment = Fragment(ref.digest, ref.size_bytes, len(part), start_at, newest)
        fragments.append(msgspec.structs.replace(fragment, kind=kind, targets=targets))
    return fragments


def _profile(
    parent: DatasetVersion,
    change: _Change,
    stored: Sequence[Fragment],
    schema: Sequence[ColumnSchema],
    blobs: BlobStore,
) -> profiles.Profile:
    """Return the profile of the whole version; columns of which no value changed or went are not read again."""
    below = read.read_profile(parent, blobs)
    names = [column.name for column in schema]
    known = {} if below is None or change.gone.height else below.columns
    again = [name for name in names if name in change.cells.given or name not in known]
    counted = profiles.Profile(0, {})
    if again:
        placed = [msgspec.structs.replace(part, place=(0, number)) for number, part in enumerate(stored)]
        dtypes = {column.name: parse_dtype(column.dtype) for column in schema}
        rows = Layers([*parent.fragments, *placed], dtypes, blobs).scan(again).collect()
        counted = profiles.profile_frame(rows, below)
    if below is None or len(again) == len(names):
        return counted
    kept = profiles.Profile(below.rows, {name: one for name, one in below.columns.items() if name not in again})
    if change.new.height:
        kept = profiles.merge(kept, profiles.profile_frame(change.new.drop(again), below))
    return profiles.Profile(kept.rows, {name: (counted if name in again else kept).columns[name] for name in names})
