"""Bodies of the online store: what is kept of one (view, entity), how rows are merged into it, and how it answers.

A body is a set of rows: merging is a union, then rows that can no longer answer fall out by a rule that depends on the
set alone. So neither order nor repetition of what arrives changes the state.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, product
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.data import known
from loopwright.features.aggregates import Partials, finish, sum_windows, superseded_at
from loopwright.features.online.base import Lookup
from loopwright.features.plans import used_columns, window_name
from loopwright.features.pointintime import FOUND, NEVER, NOT_FOUND, Ints, latest_known, order_by, pack
from loopwright.features.rows import AggregateRows, LatestRows
from loopwright.features.types import AggregateViewSpec, BoundView, ColumnViewSpec

Bodies = Mapping[str, bytes]
"""Entity -> its body."""
Entities = Mapping[str, Sequence[str | None]]
_NO_ROWS = np.zeros(0, np.int64)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, tuple[int, ...], tuple[float | str | None, ...]]]).decode


class Arrival(NamedTuple):
    """Rows that arrived for a view.

    ``kept_us`` is how long before an entity's newest row others are kept; what lies in the future is not the newest.
    """

    view_key: str
    rows: AggregateRows | LatestRows
    kept_us: int


def merge(arrivals: Sequence[Arrival], bodies: Mapping[str, Bodies], most_rows: int) -> dict[str, dict[str, bytes]]:
    """Return the new bodies of the rows' entities, by view key and entity.

    Args:
        arrivals: What arrived, each view once.
        bodies: View key -> the present bodies of the entities concerned.
        most_rows: How many newest rows of an entity a column view may be asked for at most.
    """
    merged: dict[str, dict[str, bytes]] = {}
    alike: dict[int, list[tuple[str, AggregateRows, int]]] = {}
    for view_key, rows, kept_us in arrivals:
        if isinstance(rows, LatestRows):
            merged[view_key] = _merge_latest(rows, bodies[view_key], kept_us, most_rows)
        else:
            merged[view_key] = {}
            alike.setdefault(len(rows.columns), []).append((view_key, rows, kept_us))
    for columns, group in alike.items():
        _merge_aggregates(columns, group, bodies, merged)
    return merged


def _merge_aggregates(
    columns: int,
    arrivals: Sequence[tuple[str, AggregateRows, int]],
    bodies: Mapping[str, Bodies],
    merged: dict[str, dict[str, bytes]],
) -> None:
    """Merge rows of aggregate views with as many columns, all at once.

    A body is int64 (n, 2 + 2k), little-endian: the time windows are cut by, row identity, and known time and value of
    each of k columns; sorted, so that equal sets are equal bytes.
    """
    keys: list[tuple[str, str]] = []
    longest, codes, tables = [], [], []
    for view_key, rows, kept_us in arrivals:
        names = rows.entity.to_list()
        places = {name: code for code, name in enumerate(dict.fromkeys(names), len(keys))}
        keys += [(view_key, name) for name in places]
        longest += [kept_us] * len(places)
        codes.append(np.fromiter(map(places.__getitem__, names), np.int64, len(names)))
        tables.append(np.column_stack([rows.counted_at, rows.identity, *chain.from_iterable(rows.columns.values())]))
    arrived = np.concatenate(tables)
    is_known = (arrived[:, 2::2] != NEVER).any(axis=1)
    stored = [code for code, (view_key, name) in enumerate(keys) if name in bodies[view_key]]
    body, present = _stacked([bodies[view_key][name] for view_key, name in map(keys.__getitem__, stored)], columns)
    code = np.concatenate([np.array(stored, np.int64)[body], np.concatenate(codes)[is_known]])
    table = np.concatenate([present, arrived[is_known]])
    if len(code) == 0:
        return
    order = _each_once(code, table, len(present))
    code, table = code[order], table.take(order, axis=0)
    came_at = np.minimum(table[:, 0], table[:, 2::2].min(axis=1))
    is_kept = table[:, 0] >= _since(code, came_at, np.array(longest)[code])
    code, table = code[is_kept], table.compress(is_kept, axis=0)
    whole = table.astype("<i8", copy=False).tobytes()
    stops = (np.searchsorted(code, np.arange(len(keys)), side="right") * (len(whole) // len(code))).tolist()
    for (view_key, name), start, stop in zip(keys, [0, *stops], stops, strict=False):
        if stop > start:
            merged[view_key][name] = whole[start:stop]


def _each_once(code: Ints, table: Ints, stored: int) -> Ints:
    """Return the places of the rows by code and then by all columns, of equal ones the first.

    Args:
        code: int64 (n,), codes of the rows' entities.
        table: int64 (n, k), the rows.
        stored: How many of the first rows come in this order and once each.
    """
    # Only from the first row that arrived on may anything change its place.
    is_late = table[:, 0] >= table[stored:, 0].min(initial=NEVER)
    late = np.flatnonzero(is_late)
    late_code, late_table = code[late], table.take(late, axis=0)
    key, _ = pack(late_code, late_table[:, 0], _NO_ROWS)
    order = order_by(key, *late_table.T[1:])
    late_code, late_table = late_code[order], late_table.take(order, axis=0)
    is_new = np.ones(len(late), bool)
    is_new[1:] = (late_code[1:] != late_code[:-1]) | (late_table[1:] != late_table[:-1]).any(axis=1)
    places = np.append(np.flatnonzero(~is_late), late[order[is_new]])
    by_code: Ints = places[np.argsort(code[places], kind="stable")]
    return by_code


def _merge_latest(rows: LatestRows, bodies: Bodies, kept_us: int, most_rows: int) -> dict[str, bytes]:
    """Return the new bodies of the rows' entities: msgpack of rows (event, sequence, known times, values).

    Args:
        rows: What arrived.
        bodies: The present bodies of the entities concerned.
        kept_us: How long before an entity's newest row others may be asked for.
        most_rows: How many newest rows of an entity may be asked for at most.
    """
    names = rows.entity.to_list()
    if not names:
        return {}
    place = {name: code for code, name in enumerate(dict.fromkeys(names))}
    stored = {name: _decode(body) for name, body in bodies.items()}
    found = [row for part in stored.values() for row in part]
    codes = [np.full(len(part), place[name]) for name, part in stored.items()]
    arrived = np.column_stack([rows.event_at, rows.sequence, *rows.known_at.values()])
    event_at, sequence = ([row[part] for row in found] for part in (0, 1))
    known_at = np.fromiter(chain.from_iterable([row[2] for row in found]), np.int64).reshape(-1, arrived.shape[1] - 2)
    table = np.column_stack([np.array(event_at, np.int64), np.array(sequence, np.int64), known_at])
    code = np.concatenate([np.array([place[name] for name in names]), *codes])
    kept = _may_answer(code, np.concatenate([arrived, table]), kept_us, most_rows)
    fresh = _encodable(rows, arrived, np.sort(kept[kept < len(names)]))
    merged: dict[int, list[Any]] = {}
    for entity, row in zip(code[kept].tolist(), kept.tolist(), strict=True):
        merged.setdefault(entity, []).append(fresh[row] if row < len(names) else found[row - len(names)])
    return {name: _encode(merged[entity]) for name, entity in place.items()}


def _encodable(rows: LatestRows, arrived: Ints, places: Ints) -> dict[int, Any]:
    """Return some of the rows that arrived as a body holds them, by place."""
    columns = list(rows.values.values())
    if len(places) < len(arrived):
        arrived, columns = arrived[places], [values[places] for values in columns]
    values = zip(*(values.to_list() for values in columns), strict=True)
    moments = zip(places.tolist(), arrived.tolist(), values, strict=True)
    return {place: (event_at, sequence, known_at, found) for place, (event_at, sequence, *known_at), found in moments}


def _may_answer(code: Ints, table: Ints, kept_us: int, most_rows: int) -> Ints:
    """Return the places of the rows that may answer from a moment on, by entity and (event, known times, sequence).

    That moment is ``kept_us`` before the entity's newest row had happened or was known, whichever came first, so what
    lies in the future does not count. What happens or becomes known from then on is kept; of what was known before,
    the row that wins then, for each column; and the last that had happened, whose value nobody knows yet.

    Args:
        code: int64 (n,), codes of the rows' entities.
        table: int64 (n, 2 + k): event time, sequence, and known time of each of k columns.
        kept_us: How long before the newest row.
        most_rows: The moment is that of the row that has so many newer ones, if that is later.
    """
    # Columns that are known at the same moments have the same winners.
    alike = {column.tobytes(): 2 + place for place, column in enumerate(table.T[2:])}
    table = table[:, [0, 1, *alike.values()]]
    order = np.lexsort((table[:, 1], *table[:, :1:-1].T, table[:, 0], code))
    code, table = code[order], table[order]
    is_new = np.ones(len(code), bool)
    is_new[1:] = (code[1:] != code[:-1]) | (table[1:] != table[:-1]).any(axis=1)
    order, code, table = order[is_new], code[is_new], table[is_new]
    event_at, sequence, known_at = table[:, 0], table[:, 1], table[:, 2:]
    since = _since(code, np.minimum(event_at, known_at.min(axis=1)), kept_us, most_rows)
    is_past = event_at < since
    visible_at = np.maximum(event_at, known_at.T)
    is_kept = ~is_past | ((visible_at >= since) & (visible_at != NEVER)).any(axis=0)
    _mark_last(is_kept, code, np.flatnonzero(is_past))
    for place in range(known_at.shape[1]):
        was_known = np.flatnonzero(visible_at[place] < since)
        keys = (sequence, known_at[:, place], event_at, code)
        _mark_last(is_kept, code, was_known[np.lexsort(tuple(key[was_known] for key in keys))])
    kept: Ints = order[is_kept]
    return kept


def _since(code: Ints, at: Ints, kept_us: int | Ints, most_rows: int | None = None) -> Ints:
    """Return for each row the moment from which on its entity may be asked; ``code`` is sorted."""
    start = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
    count = np.diff(np.append(start, len(code)))
    since = np.maximum.reduceat(at - kept_us, start)
    if most_rows is not None and count.max() > most_rows:
        crowded = np.flatnonzero(count > most_rows)
        last = (start + count)[crowded] - most_rows
        since[crowded] = np.maximum(since[crowded], at[np.lexsort((at, code))][last])
    return np.repeat(since, count)


def _mark_last(is_marked: NDArray[np.bool_], code: Ints, places: Ints) -> None:
    """Mark the last of each entity's places, which are sorted by entity."""
    is_last = np.ones(len(places), bool)
    is_last[:-1] = code[places[1:]] != code[places[:-1]]
    is_marked[places[is_last]] = True


def look_up(views: Sequence[BoundView], entities: Entities, at_us: Ints, bodies: Mapping[str, Bodies]) -> Lookup:
    """Return features of views by the rule of training sets.

    Args:
        views: The views.
        entities: Join key column of a view -> the asked entities, (q,).
        at_us: int64 (q,), the asked moments.
        bodies: View key -> the bodies of the asked entities.
    """
    found = Lookup({}, {})
    alike: dict[Any, list[BoundView]] = {}
    for view in views:
        if isinstance(view.view, AggregateViewSpec):
            alike.setdefault(_computed(view.view), []).append(view)
        else:
            _add_latest(view, view.view, entities[view.view.entity], at_us, bodies[view.key], found)
    for computed, group in alike.items():
        _add_aggregates(computed, group, entities, at_us, bodies, found)
    names = [name for view in views for name in view.names.values()]
    return Lookup({name: found.columns[name] for name in names}, {name: found.reasons[name] for name in names})


class _Computed(NamedTuple):
    """What an aggregate view computes of a body, whatever its entity and its names: functions with their columns."""

    counts: str
    windows_us: tuple[int, ...]
    functions: tuple[tuple[str, int], ...]


def _computed(spec: AggregateViewSpec) -> _Computed:
    columns = used_columns(spec)
    functions = tuple((one.function, columns.index(one.column)) for one in spec.aggregates)
    return _Computed(spec.counts, tuple(spec.windows_us), functions)


def _add_aggregates(
    computed: _Computed,
    views: Sequence[BoundView],
    entities: Entities,
    at_us: Ints,
    bodies: Mapping[str, Bodies],
    found: Lookup,
) -> None:
    """Add the features of views that compute the same, summed at once; an entity without rows counts 0."""
    keys: list[tuple[str, str | None]] = [(view.key, entity) for view in views for entity in bodies[view.key]]
    columns = 1 + max(column for _, column in computed.functions)
    code, table = _stacked([body for view in views for body in bodies[view.key].values()], columns)
    if computed.counts == "known" and len(at_us):
        # What became known before every window neither counts nor replaces what does.
        is_recent = table[:, 0] > at_us.min() - max(computed.windows_us)
        code, table = code[is_recent], table.compress(is_recent, axis=0)
    places = {key: place for place, key in enumerate(keys)}
    asked = [(view.key, entity) for view in views for entity in entities[view.view.entity]]
    asked_code = np.array([places.get(key, -1) for key in asked], np.int64)
    sums = []
    for known_at, value in zip(table.T[2::2], table.T[3::2], strict=True):
        partials = Partials(known_at if computed.counts == "known" else table[:, 0], known_at, known_at, value)
        partials = partials._replace(until=superseded_at(code, table[:, 1], partials))
        sums.append(sum_windows(code, partials, asked_code, np.tile(at_us, len(views)), computed.windows_us))
    has_no_entity = np.array([entity is None for _, entity in asked], bool)
    windows = enumerate(computed.windows_us)
    for (place, (function, column)), (window, window_us) in product(enumerate(computed.functions), windows):
        values = finish(function, sums[column], window)
        values[has_no_entity] = np.nan
        reasons = np.where(np.isnan(values), NOT_FOUND, FOUND).astype(np.uint8)
        for turn, view in enumerate(views):
            assert isinstance(view.view, AggregateViewSpec)
            name = view.names[window_name(view.view.aggregates[place].name, window_us)]
            own = slice(turn * len(at_us), (turn + 1) * len(at_us))
            found.columns[name], found.reasons[name] = values[own], reasons[own]


def _stacked(bodies: Sequence[bytes], columns: int) -> tuple[Ints, Ints]:
    """Return the rows of bodies of so many columns, one body after the other, and for each row which body it is of."""
    table = np.frombuffer(b"".join(bodies), "<i8").reshape(-1, 2 + 2 * columns)
    lengths = np.array([len(body) for body in bodies], np.int64) // (table.itemsize * table.shape[1])
    return np.repeat(np.arange(len(bodies)), lengths), table


def _add_latest(
    view: BoundView, spec: ColumnViewSpec, entities: Sequence[str | None], at_us: Ints, bodies: Bodies, found: Lookup
) -> None:
    """Add a column view's latest known values."""
    decoded = [_decode(body) for body in bodies.values()]
    rows = [row for part in decoded for row in part]
    entity = np.repeat(np.arange(len(decoded)), [len(part) for part in decoded])
    event_at, sequence = (np.array([row[place] for row in rows], np.int64) for place in (0, 1))
    places = {name: code for code, name in enumerate(bodies)}
    asked = np.array([-1 if name is None else places.get(name, -1) for name in entities], np.int64)
    winners: dict[Any, Any] = {}
    for place, column in enumerate(spec.columns):
        moment = known.known_moment(view.dataset, column)
        if moment not in winners:
            known_at = np.array([row[2][place] for row in rows], np.int64)
            winners[moment] = latest_known(entity, event_at, known_at, sequence, asked, at_us, spec.ttl_us)
        index, reason = winners[moment]
        values = [None if row < 0 else rows[row][3][place] for row in index.tolist()]
        name = view.names[column]
        found.columns[name] = _values(values, view.dataset.dtypes.get(column, ""))
        found.reasons[name] = reason


def _values(values: list[Any], dtype: str) -> NDArray[np.float64] | list[str | None]:
    is_text = dtype.startswith(("String", "Categorical", "Enum")) or str in set(map(type, values))
    return values if is_text else np.array([np.nan if value is None else value for value in values], np.float64)
