"""Bodies of the online store: what is kept of one (view, entity), how rows are merged into it, and how it answers.

A body is a set of rows: merging is a union, then rows that can no longer answer fall out by a rule that depends on the
set alone. So neither order nor repetition of what arrives changes the state.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.data import known
from loopwright.features.aggregates import Partials, Sums, aggregate, finish, superseded_at
from loopwright.features.online.base import Lookup
from loopwright.features.plans import used_columns, window_name
from loopwright.features.pointintime import FOUND, NEVER, NOT_FOUND, Ints, latest_known, order_by, pack
from loopwright.features.rows import AggregateRows, LatestRows
from loopwright.features.types import AggregateViewSpec, BoundView, ColumnViewSpec

Bodies = Mapping[str, bytes]
_NO_ROWS = np.zeros(0, np.int64)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, tuple[int, ...], tuple[float | str | None, ...]]]).decode


def merge_aggregates(rows: AggregateRows, bodies: Bodies, kept_us: int) -> dict[str, bytes]:
    """Return the new bodies of the rows' entities.

    A body is int64 (n, 2 + 2k), little-endian: the time windows are cut by, row identity, and known time and value of
    each of k columns; sorted, so that equal sets are equal bytes.

    Args:
        rows: What arrived.
        bodies: The present bodies of the entities concerned.
        kept_us: How long before an entity's newest row others are kept; what lies in the future is not the newest.
    """
    columns = [part for known_at, value in rows.columns.values() for part in (known_at, value)]
    names = rows.entity.to_list()
    entities = list(dict.fromkeys(names))
    place = {name: code for code, name in enumerate(entities)}
    codes = [np.fromiter((place[name] for name in names), np.int64, len(names))]
    arrived = np.column_stack([rows.counted_at, rows.identity, *columns])
    is_known = (arrived[:, 2::2] != NEVER).any(axis=1)
    codes, parts = [codes[0][is_known]], [arrived[is_known]]
    for name in entities:
        if name in bodies:
            parts.append(np.frombuffer(bodies[name], "<i8").reshape(-1, arrived.shape[1]))
            codes.append(np.full(len(parts[-1]), place[name]))
    code, table = np.concatenate(codes), np.concatenate(parts)
    if len(code) == 0:
        return {}
    key, _ = pack(code, table[:, 0], _NO_ROWS)
    order = order_by(key, *(table[:, column] for column in range(1, table.shape[1])))
    code, table = code[order], table[order]
    is_new = np.ones(len(code), bool)
    is_new[1:] = (code[1:] != code[:-1]) | (table[1:] != table[:-1]).any(axis=1)
    code, table = code[is_new], table[is_new]
    is_kept = table[:, 0] >= _since(code, np.minimum(table[:, 0], table[:, 2::2].min(axis=1)), kept_us)
    code, table = code[is_kept], np.ascontiguousarray(table[is_kept], "<i8")
    stop = np.searchsorted(code, np.arange(len(entities)), side="right").tolist()
    return {
        name: table[start:end].tobytes()
        for name, start, end in zip(entities, [0, *stop], stop, strict=False)
        if end > start
    }


def merge_latest(rows: LatestRows, bodies: Bodies, kept_us: int, most_rows: int) -> dict[str, bytes]:
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
    numbers = chain.from_iterable((event_at, sequence, *known_at) for event_at, sequence, known_at, _ in found)
    table = np.fromiter(numbers, np.int64).reshape(-1, arrived.shape[1])
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
    # Columns that are known at the same moments have the same winners.
    for place in {column.tobytes(): place for place, column in enumerate(known_at.T)}.values():
        was_known = np.flatnonzero(visible_at[place] < since)
        keys = (sequence, known_at[:, place], event_at, code)
        _mark_last(is_kept, code, was_known[np.lexsort(tuple(key[was_known] for key in keys))])
    kept: Ints = order[is_kept]
    return kept


def _since(code: Ints, at: Ints, kept_us: int, most_rows: int | None = None) -> Ints:
    """Return for each row the moment from which on its entity may be asked; ``code`` is sorted."""
    start = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
    count = np.diff(np.append(start, len(code)))
    since = np.maximum.reduceat(at, start) - kept_us
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


def look_up_aggregates(
    view: BoundView, spec: AggregateViewSpec, entities: Sequence[str | None], at_us: Ints, bodies: Bodies
) -> Lookup:
    """Return an aggregate view's features; an entity without rows counts 0."""
    columns = used_columns(spec)
    names = list(bodies)
    parts = [np.frombuffer(bodies[name], "<i8").reshape(-1, 2 + 2 * len(columns)) for name in names]
    table = np.concatenate(parts) if parts else np.zeros((0, 2 + 2 * len(columns)), np.int64)
    lengths = np.array([len(part) for part in parts], np.int64)
    stops = np.append(np.cumsum(lengths), 0)
    places = {name: code for code, name in enumerate(names)}
    asked = np.array([places.get(name, -1) if name is not None else -1 for name in entities], np.int64)
    start = np.append(stops[:-1] - lengths, 0)[asked]
    stop = stops[asked]
    sums: dict[str, Sums] = {}
    for place, column in enumerate(columns):
        known_at, value = table[:, 2 + 2 * place], table[:, 3 + 2 * place]
        counted_at = known_at if spec.counts == "known" else table[:, 0]
        partials = Partials(counted_at, known_at, known_at, value)
        until = superseded_at(np.repeat(np.arange(len(names)), lengths), table[:, 1], partials)
        sums[column] = aggregate(partials._replace(until=until), start, stop, at_us, spec.windows_us)
    has_no_entity = np.array([name is None for name in entities], bool)
    found = Lookup({}, {})
    for one in spec.aggregates:
        for place, window_us in enumerate(spec.windows_us):
            name = view.names[window_name(one.name, window_us)]
            values = finish(one.function, sums[one.column], place)
            values[has_no_entity] = np.nan
            found.columns[name] = values
            found.reasons[name] = np.where(np.isnan(values), NOT_FOUND, FOUND).astype(np.uint8)
    return found


def look_up_latest(
    view: BoundView, spec: ColumnViewSpec, entities: Sequence[str | None], at_us: Ints, bodies: Bodies
) -> Lookup:
    """Return a column view's latest known values, by the rule of training sets."""
    names = list(bodies)
    decoded = [_decode(bodies[name]) for name in names]
    rows = [row for part in decoded for row in part]
    entity = np.repeat(np.arange(len(names)), [len(part) for part in decoded])
    event_at, sequence = (np.array([row[place] for row in rows], np.int64) for place in (0, 1))
    places = {name: code for code, name in enumerate(names)}
    asked = np.array([places.get(name, -1) if name is not None else -1 for name in entities], np.int64)
    found = Lookup({}, {})
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
    return found


def _values(values: list[Any], dtype: str) -> NDArray[np.float64] | list[str | None]:
    is_text = dtype.startswith(("String", "Categorical", "Enum")) or any(isinstance(value, str) for value in values)
    return values if is_text else np.array([np.nan if value is None else value for value in values], np.float64)
