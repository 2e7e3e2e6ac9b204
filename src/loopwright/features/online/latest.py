"""Bodies of column views: the rows of one entity that may still be its latest known, and finding which is at a moment.

A body is msgpack of its rows in order, each (event time, sequence, known times, values) with one known time and one
value a column; behind the known times stands the row's identity, which bodies of older versions lack. Moments are
microseconds UTC; ``NEVER`` is the known time of a value that nobody knows yet. The order is by event time, known times
and sequence, so equal sets of rows are equal bytes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.features.online.base import Bodies, Lookup
from loopwright.features.online.retention import answerable_since
from loopwright.features.pointintime import NEVER, NO_ROW, Ints, Owned, Winners, latest_known
from loopwright.features.rows import LatestRows
from loopwright.features.types import BoundView, ColumnViewSpec

_Row = tuple[int, int, tuple[int, ...], tuple[float | str | None, ...]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Row]).decode
_EVENT_AT, _SEQUENCE, _KNOWN_AT, _IDENTITY = 0, 1, slice(2, -1), -1
"""Where the columns of a table of rows stand: known times are from the third on, the identity is the last."""


class LatestArrival(NamedTuple):
    """Rows that arrived for a column view; ``kept_us`` is how far behind its newest row an entity may be asked."""

    view_key: str
    rows: LatestRows
    kept_us: int

    def of_rows(self, index: Ints) -> "LatestArrival":
        """Return some of the rows."""
        return self._replace(rows=self.rows.take(index))


def newest_event_at(body: bytes) -> int:
    """Return the last event time of an entity's rows, microseconds UTC: by it a value's age is told."""
    return max((event_at for event_at, _, _, _ in _decode(body)), default=0)


def merge_latest(arrival: LatestArrival, bodies: Bodies, most_rows: int) -> dict[str, bytes]:
    """Return the new bodies of the rows' entities, by entity.

    Args:
        arrival: What arrived.
        bodies: The present bodies of the entities concerned.
        most_rows: How many newest rows of an entity may be asked for at most.
    """
    entities = arrival.rows.entity.to_list()
    if not entities:
        return {}
    code_of = {entity: code for code, entity in enumerate(dict.fromkeys(entities))}
    stored = {entity: _decode(body) for entity, body in bodies.items()}
    stored_rows = [row for rows in stored.values() for row in rows]
    stored_codes = [np.full(len(rows), code_of[entity]) for entity, rows in stored.items()]
    owner = np.concatenate([np.array([code_of[entity] for entity in entities]), *stored_codes])
    rows = arrival.rows
    arrived = np.column_stack([rows.event_at, rows.sequence, *rows.known_at.values(), rows.identity])
    kept = _may_answer(
        owner, np.concatenate([arrived, _table(stored_rows, arrived.shape[1])]), arrival.kept_us, most_rows
    )
    # Values come as columns and bodies hold rows; only those that stay are turned round.
    fresh = _encodable(arrival.rows, arrived, np.sort(kept[kept < len(entities)]))
    merged: dict[int, list[_Row]] = {}
    for code, place in zip(owner[kept].tolist(), kept.tolist(), strict=True):
        row = fresh[place] if place < len(entities) else stored_rows[place - len(entities)]
        merged.setdefault(code, []).append(row)
    return {entity: _encode(merged[code]) for entity, code in code_of.items()}


def _table(rows: Sequence[_Row], width: int) -> Ints:
    """Return what orders rows, int64 (n, 3 + k): event time, sequence, known times, identity."""
    named = [(row[_EVENT_AT], row[_SEQUENCE], *row[2], *(NO_ROW,) * (width - 2 - len(row[2]))) for row in rows]
    return np.array(named, np.int64).reshape(-1, width)


def _encodable(rows: LatestRows, arrived: Ints, index: Ints) -> dict[int, _Row]:
    """Return some of the rows that arrived as a body holds them, by their index."""
    columns = list(rows.values.values())
    if len(index) < len(arrived):
        arrived, columns = arrived[index], [values[index] for values in columns]
    values = zip(*(column.to_list() for column in columns), strict=True)
    return {
        at: (event_at, sequence, tuple(known_at), row_values)
        for at, (event_at, sequence, *known_at), row_values in zip(
            index.tolist(), arrived.tolist(), values, strict=True
        )
    }


def _may_answer(owner: Ints, table: Ints, kept_us: int, most_rows: int) -> Ints:
    """Return the index of the rows that may answer, by entity and (event time, known times, sequence), equal ones once.

    Nothing is asked before a moment (``answerable_since``). So these are needed, and no others:

    - what happens or becomes known from then on, for it may win later;
    - of what was known before, the row that wins at that moment, for each column: it wins until another one does;
    - the last that had happened by then: where nobody knows its value yet, that is the reason to tell.

    Args:
        owner: int64 (n,), codes of the rows' entities.
        table: int64 (n, 3 + k), as ``_table`` gives it.
        kept_us: How long before the newest row an entity may be asked.
        most_rows: How many newest rows of an entity may be asked for at most.
    """
    # Columns that are known at the same moments have the same winners, and one comparison is enough for them.
    different = {column.tobytes(): index for index, column in enumerate(table.T[_KNOWN_AT], 2)}
    identity, table = table[:, _IDENTITY], table[:, [_EVENT_AT, _SEQUENCE, *different.values()]]
    event_at, sequence, known_at = table[:, _EVENT_AT], table[:, _SEQUENCE], table[:, 2:]
    # Of a row that is there twice, from before rows had identities and after, the one with its identity stays.
    order = np.lexsort((-identity, sequence, *known_at.T[::-1], event_at, owner))
    order = order[_is_first(owner[order], table[order])]
    owner, event_at, sequence, known_at = owner[order], event_at[order], sequence[order], known_at[order]
    since = answerable_since(owner, np.minimum(event_at, known_at.min(axis=1)), kept_us, most_rows)
    has_happened = event_at < since
    visible_at = np.maximum(event_at, known_at.T)
    becomes_visible = ((visible_at >= since) & (visible_at != NEVER)).any(axis=0)
    is_kept = ~has_happened | becomes_visible
    is_kept[_last_of_each(owner, np.flatnonzero(has_happened))] = True
    for column, visible in enumerate(visible_at):
        was_known = np.flatnonzero(visible < since)
        by_rule = (sequence, known_at[:, column], event_at, owner)
        in_order = was_known[np.lexsort(tuple(key[was_known] for key in by_rule))]
        is_kept[_last_of_each(owner, in_order)] = True
    kept: Ints = order[is_kept]
    return kept


def _is_first(owner: Ints, table: Ints) -> NDArray[np.bool_]:
    """Return which of sorted rows do not repeat the one before them, bool (n,)."""
    is_first = np.ones(len(owner), bool)
    is_first[1:] = (owner[1:] != owner[:-1]) | (table[1:] != table[:-1]).any(axis=1)
    return is_first


def _last_of_each(owner: Ints, index: Ints) -> Ints:
    """Return of an index, which is sorted by entity, the last of each entity."""
    is_last = np.ones(len(index), bool)
    is_last[:-1] = owner[index[1:]] != owner[index[:-1]]
    return index[is_last]


def look_up_latest(
    view: BoundView,
    spec: ColumnViewSpec,
    entities: Sequence[str | None],
    at_us: Ints,
    own: Ints,
    bodies: Bodies,
    served: Lookup,
) -> None:
    """Add a column view's latest known values at q moments.

    Args:
        view: The view, whose declaration is ``spec``.
        spec: Which columns, and how long a value holds.
        entities: The asked entities, (q,); None where there is none.
        at_us: int64 (q,), the asked moments.
        own: int64 (q,), identities of the rows that the requests are.
        bodies: The bodies of the asked entities.
        served: Takes the features.
    """
    decoded = [_decode(body) for body in bodies.values()]
    rows = [row for body in decoded for row in body]
    owner = np.repeat(np.arange(len(decoded)), [len(body) for body in decoded])
    table = _table(rows, 3 + len(spec.columns))
    owned = Owned(table[:, _IDENTITY], own) if view.is_own and (own != NO_ROW).any() else None
    code_of = {entity: code for code, entity in enumerate(bodies)}
    asked = np.array([-1 if entity is None else code_of.get(entity, -1) for entity in entities], np.int64)
    winners: dict[bytes, Winners] = {}
    for place, column in enumerate(spec.columns):
        known_at = table[:, 2 + place]
        alike = known_at.tobytes()  # columns of one declared moment may differ: one of them was completed or corrected
        if alike not in winners:
            times = table[:, _EVENT_AT], known_at, table[:, _SEQUENCE]
            winners[alike] = latest_known(owner, *times, asked, at_us, spec.ttl_us, owned)
        won, reasons = winners[alike]
        values = [None if index < 0 else rows[index][-1][place] for index in won.tolist()]
        name = view.names[column]
        served.columns[name] = _as_column(values, view.dataset.dtypes.get(column, ""))
        served.reasons[name] = reasons
        if served.event_at is not None:
            times = table[:, _EVENT_AT], known_at, table[:, _SEQUENCE]
            served.event_at[name] = _happened_at(owner, times, asked, at_us, owned)


def _happened_at(owner: Ints, times: tuple[Ints, Ints, Ints], asked: Ints, at_us: Ints, owned: Owned | None) -> Ints:
    """Return when the rows happened that win, int64 (q,); also those that are older than they may be."""
    won, _ = latest_known(owner, *times, asked, at_us, owned=owned)
    happened_at = np.full(len(won), NEVER, np.int64)
    happened_at[won >= 0] = times[0][won[won >= 0]]
    return happened_at


def _as_column(values: list[Any], dtype: str) -> NDArray[np.float64] | list[str | None]:
    """Return values as a list of texts or as float64; where all are missing only the dtype tells which."""
    is_text = dtype.startswith(("String", "Categorical", "Enum")) or str in set(map(type, values))
    return values if is_text else np.array([np.nan if value is None else value for value in values], np.float64)
