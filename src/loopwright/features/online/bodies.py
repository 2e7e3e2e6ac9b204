"""Bodies of the online store: what is kept of one (view, entity), how rows are merged into it, and how it answers.

A body is a set of rows: merging is a union, then the oldest fall out by a rule that depends on the set alone. So
neither order nor repetition of what arrives changes the state.
"""

from collections.abc import Mapping, Sequence
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
        kept_us: How long before an entity's newest row others are kept.
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
    stop = np.searchsorted(code, np.arange(len(entities)), side="right")
    newest = table[np.maximum(stop - 1, 0), 0] if len(table) else _NO_ROWS
    is_kept = table[:, 0] >= newest[code] - kept_us
    code, table = code[is_kept], np.ascontiguousarray(table[is_kept], "<i8")
    stop = np.searchsorted(code, np.arange(len(entities)), side="right").tolist()
    return {
        name: table[start:end].tobytes()
        for name, start, end in zip(entities, [0, *stop], stop, strict=False)
        if end > start
    }


def merge_latest(rows: LatestRows, bodies: Bodies, last_rows: int) -> dict[str, bytes]:
    """Return the new bodies of the rows' entities: msgpack of the last rows (event, sequence, known times, values)."""
    moments_known = list(rows.known_at.values())
    kept = _last(rows, moments_known, last_rows)
    columns = [values[kept].to_list() for values in rows.values.values()]
    grouped: dict[str, set[Any]] = {}
    entities = rows.entity[kept].to_list()
    known_rows = zip(*(at[kept].tolist() for at in moments_known), strict=True)
    moments = zip(rows.event_at[kept].tolist(), rows.sequence[kept].tolist(), known_rows, strict=True)
    for entity, moment, values in zip(entities, moments, zip(*columns, strict=True), strict=True):
        grouped.setdefault(entity, set()).add((*moment, values))
    merged = {}
    for entity, found in grouped.items():
        if entity in bodies:
            found.update(_decode(bodies[entity]))
        merged[entity] = _encode(sorted(found, key=_by_moment)[-last_rows:])
    return merged


def _by_moment(row: tuple[int, int, tuple[int, ...], Any]) -> tuple[int, tuple[int, ...], int]:
    return row[0], row[2], row[1]


def _last(rows: LatestRows, known_at: list[Ints], last_rows: int) -> Ints:
    """Return the places of each entity's last rows, so that a bulk fill decodes no more than it keeps."""
    names, codes = np.unique(rows.entity.to_numpy().astype(str), return_inverse=True)
    keys = np.column_stack([codes, rows.event_at, *known_at, rows.sequence])
    order = np.lexsort(tuple(keys.T[::-1]))
    is_new = np.ones(len(order), bool)
    is_new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    order = order[is_new]
    stop = np.searchsorted(codes[order], np.arange(len(names)), side="right")
    from_end = stop[codes[order]] - np.arange(len(order))
    return np.sort(order[from_end <= last_rows])


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
