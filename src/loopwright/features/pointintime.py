"""The point-in-time rule, for training and serving alike: the latest row that had happened and was known at a moment.

Candidates of (entity, T) are the rows with ``event_at <= T`` and ``known_at <= T``; the winner is the greatest by
(event_at, known_at, sequence); it is missing when older than the time to live. A row is a candidate from
``max(event_at, known_at)`` on, so one running maximum over rows in that order answers every query, whatever the delays.
What is asked for a row of the same dataset leaves that row out: a request never answers for itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_MANY = 20_000
_MOST_STEPS = 32
NEVER = 2**63 - 1
"""Known time of a value that nobody knows yet."""
FOUND, NOT_FOUND, EXPIRED, NOT_YET_KNOWN = 0, 1, 2, 3
"""Codes of the reasons, as places in ``types.MISSING``."""


NO_ROW = -1
"""Identity that no row has: of a request that names no row, or that counts every row."""


class Owned(NamedTuple):
    """Which row each query is asked for: identities of the rows, int64 (n,), and of what is asked, int64 (q,)."""

    identity: Ints
    asked: Ints


Ties = Callable[[Ints], Ints]
"""Tells the order of some rows, int64 (k,), by their places: hardly any row ties with another."""


class Winners(NamedTuple):
    """Answer per query: ``rows``, the winning row (-1 if none), and ``reasons``, places in ``types.MISSING``."""

    rows: Ints
    reasons: NDArray[np.uint8]


def latest_known(
    entity: Ints,
    event_at: Ints,
    known_at: Ints,
    sequence: "Ints | Ties",
    asked_entity: Ints,
    asked_at: Ints,
    ttl_us: int | None = None,
    owned: Owned | None = None,
) -> Winners:
    """Return the winning row of each query.

    Args:
        entity: int64 (n,), codes ``>= 0`` of the rows' entities.
        event_at: int64 (n,), microseconds UTC.
        known_at: int64 (n,), microseconds UTC; ``NEVER`` where unknown.
        sequence: int64 (n,), order among rows that are equal in event and known time; or what tells it of some rows.
        asked_entity: int64 (q,), codes of the queries; -1 is found in no row.
        asked_at: int64 (q,), microseconds UTC.
        ttl_us: Age up to which a value holds, inclusive; None for ever.
        owned: Whose queries these are, where rows are left out of what is asked for them.
    """
    index = np.full(len(asked_at), -1, np.int64)
    reason = np.full(len(asked_at), NOT_FOUND, np.uint8)
    if len(entity) == 0 or len(asked_at) == 0:
        return Winners(index, reason)
    visible_at = np.maximum(event_at, known_at)
    happened, visible, asked = pack(np.append(entity, asked_entity), event_at, visible_at, asked_at)
    order = order_by(happened, known_at, sequence)
    asked_order = argsort(asked)
    if (visible_at == event_at).all():  # known as it happens: the last row that had happened is the winner
        places = _last_at(happened[order], asked, asked_order)
    else:
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        by_visible = argsort(visible)
        # The winner among all rows visible by then is the one of greatest rank: a late correction of an old row is
        # visible last and still loses to a younger row. Rank leads with the entity, so the maximum starts anew there.
        best = np.maximum.accumulate(rank[by_visible])
        last_visible = _last_at(visible[by_visible], asked, asked_order)
        places = np.where(last_visible >= 0, best[np.maximum(last_visible, 0)], -1)
    places[entity[order[np.maximum(places, 0)]] != asked_entity] = -1
    if owned is not None:
        places = _before_own(places, order, entity, owned, asked_entity, visible_at, asked_at)
    winner, has_winner = order[np.maximum(places, 0)], places >= 0
    reason[has_winner] = FOUND
    # Only to tell why a value is missing: something had happened, and nobody knew it yet.
    missed = np.flatnonzero(~has_winner)
    if len(missed):
        last = _last_at(happened[order], asked[missed], argsort(asked[missed]))
        last[entity[order[np.maximum(last, 0)]] != asked_entity[missed]] = -1
        if owned is not None:
            mine = owned._replace(asked=owned.asked[missed])
            last = _before_own(last, order, entity, mine, asked_entity[missed])
        reason[missed[last >= 0]] = NOT_YET_KNOWN
    if ttl_us is not None:
        reason[has_winner & (asked_at - event_at[winner] > ttl_us)] = EXPIRED
    is_found = reason == FOUND
    index[is_found] = winner[is_found]
    return Winners(index, reason)


def _last_at(keys: Ints, asked: Ints, order: Ints) -> Ints:
    """Return the place of the last key at or before each asked one, -1 where there is none.

    Args:
        keys: Sorted.
        asked: In any order.
        order: That which sorts ``asked``: neighbours are found near each other, others each in a part of memory that
            was not read for long.
    """
    places = np.empty(len(asked), np.int64)
    places[order] = np.searchsorted(keys, asked[order], side="right") - 1
    return places


def _before_own(
    places: Ints,
    order: Ints,
    entity: Ints,
    owned: Owned,
    asked_entity: Ints,
    visible_at: Ints | None = None,
    asked_at: Ints | None = None,
) -> Ints:
    """Return places of rows in ``order``, each moved back to the first that is not the row it is asked for.

    Args:
        places: int64 (q,); -1 where there is none, and where nothing is left.
        order: int64 (n,), rows by entity, then from the weakest to the strongest.
        entity: int64 (n,).
        owned: Whose queries these are.
        asked_entity: int64 (q,).
        visible_at: int64 (n,), from when on a row may answer; None for ever.
        asked_at: int64 (q,).
    """
    places = places.copy()
    asked = np.flatnonzero(places >= 0)
    asked = asked[owned.identity[order[places[asked]]] == owned.asked[asked]]
    for _ in range(_MOST_STEPS):  # hardly ever more than one: what lies before a row is another, and known already
        if not len(asked):
            return places
        places[asked] -= 1
        row = order[np.maximum(places[asked], 0)]
        is_out = (places[asked] < 0) | (entity[row] != asked_entity[asked])
        places[asked[is_out]] = -1
        is_unfit = owned.identity[row] == owned.asked[asked]
        if visible_at is not None and asked_at is not None:
            is_unfit |= visible_at[row] > asked_at[asked]
        asked = asked[~is_out & is_unfit]
    ordered = entity[order] if len(asked) else entity
    for query in asked.tolist():  # long stretches of rows that are known much later, or versions of one row
        first = int(np.searchsorted(ordered, asked_entity[query]))  # rows are ordered by entity first
        row = order[first : places[query]]
        is_fit = owned.identity[row] != owned.asked[query]
        if visible_at is not None and asked_at is not None:
            is_fit &= visible_at[row] <= asked_at[query]
        fit = np.flatnonzero(is_fit)
        places[query] = first + int(fit[-1]) if len(fit) else -1
    return places


def pack(entity: Ints, *times: Ints) -> tuple[Ints, ...]:
    """Return int64 keys that sort by (entity, time), one array for each of ``times``.

    Args:
        entity: int64 (n + q,): codes of the rows and then of the queries; -1 sorts before every other.
        times: int64; all but the last belong to the n rows, the last to the q queries. ``NEVER`` sorts last.
    """
    # One sort of int64 is several times faster than a sort by two columns, so entity and moment share the 62 bits.
    rows = len(entity) - len(times[-1])
    codes = [entity[:rows] + 1] * (len(times) - 1) + [entity[rows:] + 1]
    filled = [moments for moments in map(_finite, times) if len(moments)]
    low = min((int(moments.min()) for moments in filled), default=0)
    high = max((int(moments.max()) for moments in filled), default=0)
    span = high - low + 2
    if (int(entity.max(initial=0)) + 2) * span < 2**62:
        return tuple(
            code * span + np.where(moments == NEVER, span - 1, moments - low)
            for code, moments in zip(codes, times, strict=True)
        )
    # Too wide for 62 bits: the rank of a moment sorts as the moment does.
    known = np.unique(np.concatenate(times))
    return tuple(
        code * (len(known) + 1) + np.searchsorted(known, moments) for code, moments in zip(codes, times, strict=True)
    )


def _finite(moments: Ints) -> Ints:
    return moments if moments.max(initial=0) < NEVER else moments[moments != NEVER]


def argsort(key: Ints) -> Ints:
    """Return the order of numbers, int64 (n,); of equal ones, any.

    Polars sorts many in a quarter of NumPy's time, on two cores; what it takes to ask it is more than NumPy's for few.
    """
    if len(key) < _MANY:
        return np.argsort(key)
    order: Ints = pl.Series(key).arg_sort().to_numpy().astype(np.int64)
    return order


def order_by(key: Ints, *ties: Ints | Ties) -> Ints:
    """Return the order by a key and then by each of ``ties``; only rows that tie on the key are sorted in full."""
    order = argsort(key)
    is_equal = key[order[1:]] == key[order[:-1]]
    if is_equal.any():
        is_tied = np.append(is_equal, False) | np.append(False, is_equal)
        tied = order[is_tied]
        columns = [tie(tied) if callable(tie) else tie[tied] for tie in (*ties[::-1], key)]
        order[is_tied] = tied[np.lexsort(columns)]
    return order
