"""Bodies of aggregate views: the rows of one entity that windows may still count, and summing them at a moment.

A body is a table, int64 (n, 2 + 2k), little-endian: the time windows are cut by, the row's identity, and for each of k
columns when its value became known and the value in 2^-20ths. Its rows are sorted by all columns and each is there
once, so equal sets of rows are equal bytes.

Rows rather than sums are kept because a window must forget without a new event, and because a row may be replaced by a
newer version of itself; the sums are those of ``aggregates``, which training uses too.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.features.aggregates import Partials, finish, sum_windows, superseded_at
from loopwright.features.meanings import used_columns, window_name
from loopwright.features.online.base import Bodies, Entities, Lookup
from loopwright.features.online.retention import answerable_since
from loopwright.features.pointintime import FOUND, NEVER, NO_ROW, NOT_FOUND, Ints, Owned, latest_known, order_by, pack
from loopwright.features.rows import AggregateRows
from loopwright.features.types import AggregateViewSpec, BoundView

_COUNTED_AT, _IDENTITY = 0, 1
_KNOWN_AT, _VALUES = slice(2, None, 2), slice(3, None, 2)
"""Where a body's columns stand."""
_NO_QUERIES = np.zeros(0, np.int64)


class WindowArrival(NamedTuple):
    """Rows that arrived for an aggregate view; ``kept_us`` is how long before an entity's newest row others count."""

    view_key: str
    rows: AggregateRows
    kept_us: int

    def of_rows(self, index: Ints) -> "WindowArrival":
        """Return some of the rows."""
        return self._replace(rows=self.rows.take(index))


class _Stack(NamedTuple):
    """Rows of several bodies: ``owner``, int64 (n,), says whose each row of ``table`` is, int64 (n, 2 + 2k)."""

    owner: Ints
    table: Ints

    def take(self, index: Ints) -> "_Stack":
        return _Stack(self.owner[index], self.table.take(index, axis=0))

    def where(self, is_kept: NDArray[np.bool_]) -> "_Stack":
        return _Stack(self.owner[is_kept], self.table.compress(is_kept, axis=0))


def merge_windows(arrivals: Sequence[WindowArrival], bodies: Mapping[str, Bodies]) -> dict[str, dict[str, bytes]]:
    """Return the new bodies of the rows' entities, by view key and entity.

    A push brings a few rows to many views, so views whose bodies are equally wide are merged in one go: as many small
    merges would cost many times as much.

    Args:
        arrivals: What arrived, each view once.
        bodies: View key -> the present bodies of the entities concerned.
    """
    merged: dict[str, dict[str, bytes]] = {arrival.view_key: {} for arrival in arrivals}
    equally_wide: dict[int, list[WindowArrival]] = {}
    for arrival in arrivals:
        equally_wide.setdefault(len(arrival.rows.columns), []).append(arrival)
    for width, group in equally_wide.items():
        owners, arrived = _stack_arrivals(group)
        union = _unite(_stack_stored(owners, bodies, width), arrived)
        kept_us = {arrival.view_key: arrival.kept_us for arrival in group}
        kept = _drop_spent(union, np.array([kept_us[view_key] for view_key, _ in owners], np.int64))
        for (view_key, entity), body in zip(owners, _cut(kept, len(owners)), strict=True):
            if body:
                merged[view_key][entity] = body
    return merged


def _stack_arrivals(arrivals: Sequence[WindowArrival]) -> tuple[list[tuple[str, str]], _Stack]:
    """Return whose bodies change, as (view key, entity) by code, and the rows that arrived for them."""
    owners: list[tuple[str, str]] = []
    codes, tables = [], []
    for view_key, rows, _ in arrivals:
        entities = rows.entity.to_list()
        code_of = {entity: code for code, entity in enumerate(dict.fromkeys(entities), len(owners))}
        owners += [(view_key, entity) for entity in code_of]
        codes.append(np.fromiter(map(code_of.__getitem__, entities), np.int64, len(entities)))
        tables.append(np.column_stack([rows.counted_at, rows.identity, *chain.from_iterable(rows.columns.values())]))
    arrived = _Stack(np.concatenate(codes), np.concatenate(tables))
    # A row of which no value is known to anyone yet comes again once one is.
    return owners, arrived.where((arrived.table[:, _KNOWN_AT] != NEVER).any(axis=1))


def _stack_stored(owners: Sequence[tuple[str, str]], bodies: Mapping[str, Bodies], width: int) -> _Stack:
    """Return the rows of the owners' present bodies; those without one have none."""
    present = [(code, bodies[view_key].get(entity)) for code, (view_key, entity) in enumerate(owners)]
    stored = _unpack([body for _, body in present if body is not None], width)
    codes = np.array([code for code, body in present if body is not None], np.int64)
    return stored._replace(owner=codes[stored.owner])


def _unite(stored: _Stack, arrived: _Stack) -> _Stack:
    """Return the rows of both by owner and then by all columns, equal ones once.

    Args:
        stored: Rows that are in this order already.
        arrived: Rows in any order.
    """
    both = _Stack(np.concatenate([stored.owner, arrived.owner]), np.concatenate([stored.table, arrived.table]))
    # Bodies are long and arrivals are mostly new, so only what lies from the first arrival on is sorted; the rest of
    # the stored rows stay where they are.
    counted_at = both.table[:, _COUNTED_AT]
    may_move = counted_at >= arrived.table[:, _COUNTED_AT].min(initial=NEVER)
    moving = np.flatnonzero(may_move)
    late = both.take(moving)
    key, _ = pack(late.owner, late.table[:, _COUNTED_AT], _NO_QUERIES)
    order = order_by(key, *late.table.T[1:])
    late = late.take(order)
    is_first = np.ones(len(moving), bool)
    is_first[1:] = (late.owner[1:] != late.owner[:-1]) | (late.table[1:] != late.table[:-1]).any(axis=1)
    index = np.append(np.flatnonzero(~may_move), moving[order[is_first]])
    return both.take(index[np.argsort(both.owner[index], kind="stable")])


def _drop_spent(rows: _Stack, kept_us: Ints) -> _Stack:
    """Return the rows that a window may still count; ``kept_us`` is by owner."""
    if not len(rows.owner):
        return rows
    counted_at = rows.table[:, _COUNTED_AT]
    came_at = np.minimum(counted_at, rows.table[:, _KNOWN_AT].min(axis=1))
    return rows.where(counted_at >= answerable_since(rows.owner, came_at, kept_us[rows.owner]))


def _cut(rows: _Stack, owners: int) -> list[bytes]:
    """Return the body of each owner, empty for those without rows."""
    whole = rows.table.astype("<i8", copy=False).tobytes()
    row_bytes = 8 * rows.table.shape[1]
    stops = (np.searchsorted(rows.owner, np.arange(owners), side="right") * row_bytes).tolist()
    return [whole[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def _unpack(bodies: Sequence[bytes], width: int) -> _Stack:
    """Return the rows of bodies with so many value columns, one body after the other; owners are their positions."""
    table = np.frombuffer(b"".join(bodies), "<i8").reshape(-1, 2 + 2 * width)
    heights = np.array([len(body) for body in bodies], np.int64) // (8 * table.shape[1])
    return _Stack(np.repeat(np.arange(len(bodies)), heights), table)


class _Computation(NamedTuple):
    """What an aggregate view computes of a body, whatever its entity and its names: functions, each with its column."""

    counts: str
    windows_us: tuple[int, ...]
    functions: tuple[tuple[str, int], ...]


def look_up_windows(
    views: Sequence[BoundView],
    entities: Entities,
    at_us: Ints,
    own: Ints,
    bodies: Mapping[str, Bodies],
    served: Lookup,
) -> None:
    """Add the features of aggregate views at q moments.

    Views that compute the same, by another entity, are summed together: the searches cost per call, not per row.

    Args:
        views: Aggregate views.
        entities: Join key column of a view -> the asked entities, (q,).
        at_us: int64 (q,), the asked moments.
        own: int64 (q,), identities of the rows that the requests are.
        bodies: View key -> the bodies of the asked entities.
        served: Takes the features.
    """
    alike: dict[_Computation, list[BoundView]] = {}
    for view in views:
        alike.setdefault(_computation(_aggregates(view)), []).append(view)
    for computation, group in alike.items():
        _compute(computation, group, entities, at_us, own, bodies, served)


def _aggregates(view: BoundView) -> AggregateViewSpec:
    assert isinstance(view.view, AggregateViewSpec)
    return view.view


def _computation(spec: AggregateViewSpec) -> _Computation:
    columns = used_columns(spec)
    functions = tuple((aggregate.function, columns.index(aggregate.column)) for aggregate in spec.aggregates)
    return _Computation(spec.counts, tuple(spec.windows_us), functions)


def _compute(
    computation: _Computation,
    views: Sequence[BoundView],
    entities: Entities,
    at_us: Ints,
    own: Ints,
    bodies: Mapping[str, Bodies],
    served: Lookup,
) -> None:
    """Add the features of views that compute the same."""
    asked = [(view.key, entity) for view in views for entity in entities[view.view.entity]]
    asked_rows = np.concatenate([own if view.is_own else np.full(len(own), NO_ROW) for view in views])
    at_us = np.tile(at_us, len(views))
    rows = _rows_of(computation, views, asked, at_us, asked_rows, bodies)
    sums = [
        sum_windows(rows.owner, partials, rows.asked, at_us, computation.windows_us, rows.owned)
        for partials in rows.columns
    ]
    newest = [] if served.event_at is None else [_newest_at(rows, partials, at_us) for partials in rows.columns]
    has_no_entity = np.array([entity is None for _, entity in asked], bool)
    windows = enumerate(computation.windows_us)
    for (ordinal, (function, column)), (window, window_us) in product(enumerate(computation.functions), windows):
        values = finish(function, sums[column], window)
        # Of an entity without rows nothing happened, which counts 0; without an entity there is nothing to count.
        values[has_no_entity] = np.nan
        names = [view.names[window_name(_aggregates(view).aggregates[ordinal].name, window_us)] for view in views]
        for name, found in zip(names, values.reshape(len(views), -1), strict=True):
            served.columns[name] = found
            served.reasons[name] = np.where(np.isnan(found), NOT_FOUND, FOUND).astype(np.uint8)
        if served.event_at is not None:
            counted_at = np.where(newest[column] > at_us - window_us, newest[column], NEVER)
            served.event_at.update(zip(names, counted_at.reshape(len(views), -1), strict=True))


class _Rows(NamedTuple):
    """Rows that windows may count: whose they are, by column what each says, whose is asked for, and for which row."""

    owner: Ints
    columns: list[Partials]
    asked: Ints
    owned: Owned | None


def _rows_of(
    computation: _Computation,
    views: Sequence[BoundView],
    asked: Sequence[tuple[str, str | None]],
    at_us: Ints,
    asked_rows: Ints,
    bodies: Mapping[str, Bodies],
) -> _Rows:
    """Return the rows of each column that each asked (view key, entity) may count at its moment."""
    owned = {(view.key, entity): body for view in views for entity, body in bodies[view.key].items()}
    rows = _unpack(list(owned.values()), 1 + max(column for _, column in computation.functions))
    is_by_known = computation.counts == "known"
    if is_by_known and len(at_us):
        # What became known before every window neither counts nor replaces what does.
        rows = rows.where(rows.table[:, _COUNTED_AT] > at_us.min() - max(computation.windows_us))
    code_of: dict[tuple[str, str | None], int] = {owner: code for code, owner in enumerate(owned)}
    asked_codes = np.array([code_of.get(owner, -1) for owner in asked], np.int64)
    columns = []
    identity = rows.table[:, _IDENTITY]
    whose = Owned(identity, asked_rows) if (asked_rows != NO_ROW).any() else None
    for known_at, value in zip(rows.table.T[_KNOWN_AT], rows.table.T[_VALUES], strict=True):
        counted_at = known_at if is_by_known else rows.table[:, _COUNTED_AT]
        partials = Partials(counted_at, known_at, known_at, value)
        columns.append(partials._replace(until=superseded_at(rows.owner, identity, partials)))
    return _Rows(rows.owner, columns, asked_codes, whose)


def _newest_at(rows: _Rows, partials: Partials, at_us: Ints) -> Ints:
    """Return when the newest row that counts happened, int64 (q,), whatever the window; ``NEVER`` where none does.

    Where windows are cut by known time it is when that row became known. Where rows were replaced by newer versions and
    several moments are asked for, it is not told: each moment would need a search of its own.
    """
    newest = np.full(len(at_us), NEVER, np.int64)
    if len(at_us) == 0 or ((partials.until < NEVER).any() and at_us.min() < at_us.max()):
        return newest
    counts = np.flatnonzero(partials.until > at_us.min())
    owned = None if rows.owned is None else rows.owned._replace(identity=rows.owned.identity[counts])
    counted_at = partials.counted_at[counts]
    no_order = np.zeros(len(counts), np.int64)
    won, _ = latest_known(
        rows.owner[counts], counted_at, partials.known_at[counts], no_order, rows.asked, at_us, owned=owned
    )
    newest[won >= 0] = counted_at[won[won >= 0]]
    return newest
