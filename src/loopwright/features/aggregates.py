"""Windowed aggregates in exact arithmetic: whatever the order and the delays, serving and training agree to the bit.

A row counts at T when ``T - window < counted_at <= T`` and ``known_at <= T`` and no newer version of it is known, where
``counted_at`` is its event time or, for views that count what became known, its known time. That is an interval,
``[max(counted_at, known_at), min(counted_at + window, until))``, so a training set needs no search in two dimensions:
the rows begun by T less the rows ended by T, from two sorted lists with running sums. What is asked for a row of the
same dataset leaves that row out: a request never counts itself.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.features.pointintime import NEVER, NO_ROW, Ints, Owned, argsort, pack
from loopwright.kernel.errors import InvalidInput

Floats = NDArray[np.float64]

SCALE = 1 << 20
"""Values are kept as whole 2^-20ths. Sums of floats depend on the order in which they are added, and training and
serving add in different orders; sums of integers do not."""
LARGEST = float(1 << 40)
"""Values must be smaller in size than this: with the 20 bits below the point each fits 60 bits."""
_WRAP = 1 << 64
_ODD = np.int64(0x1E3779B97F4A7C15)
"""Spreads entity codes, which are small, over all bits before they meet identities."""


class Partials(NamedTuple):
    """Rows of one column: int64 (n,) each; moments in microseconds UTC, ``value`` in 2^-20ths.

    ``counted_at`` is the time that windows are cut by: the event's, or when it became known. ``until`` is when a newer
    version of the same row became known (``NEVER`` if none).
    """

    counted_at: Ints
    known_at: Ints
    until: Ints
    value: Ints


class Sums(NamedTuple):
    """Counts and sums, int64 (windows, queries); a sum is ``totals`` and ``wraps`` times 2^64, in 2^-20ths."""

    counts: Ints
    totals: Ints
    wraps: Ints


def to_fixed(values: Floats, field: str) -> Ints:
    """Return values as whole 2^-20ths; NaN becomes 0 and must be left out by its known time.

    Raises:
        InvalidInput: A value is infinite or too large to be summed exactly.
    """
    kept = np.where(np.isnan(values), 0.0, values)
    too_large = np.abs(kept) >= LARGEST
    if too_large.any():
        rule = "finite and below 2^40 in size"
        raise InvalidInput("this cannot be summed exactly", field=field, value=float(kept[too_large][0]), rule=rule)
    fixed: Ints = np.rint(kept * SCALE).astype(np.int64)
    return fixed


def superseded_at(entity: Ints, identity: Ints, partials: Partials) -> Ints:
    """Return when each row was replaced by a newer version of itself: same entity, same identity, known later."""
    until = np.full(len(identity), NEVER, np.int64)
    # Two entities may share an identity, which is no version of a row: only both together make one worth a look.
    both = identity ^ (entity * _ODD)
    # Hardly any row has another version of itself, so one sort of single numbers leaves little for the full one.
    ordered = np.sort(both)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated) == 0:
        return until
    rows = np.flatnonzero(np.isin(both, repeated))
    # Versions that became known together are told apart by what they say, so that their order never hangs on arrival.
    keys = (partials.value, partials.counted_at, partials.known_at, identity, entity)
    rows = rows[np.lexsort(tuple(key[rows] for key in keys))]
    is_same = (identity[rows[1:]] == identity[rows[:-1]]) & (entity[rows[1:]] == entity[rows[:-1]])
    until[rows[:-1][is_same]] = partials.known_at[rows[1:][is_same]]
    return until


def sum_windows(
    entity: Ints,
    partials: Partials,
    asked_entity: Ints,
    at_us: Ints,
    windows_us: Sequence[int],
    owned: Owned | None = None,
) -> Sums:
    """Sum what counts at each query, from sorted begins and ends.

    Args:
        entity: int64 (n,), codes ``>= 0`` of the rows' entities.
        partials: The rows, in any order.
        asked_entity: int64 (q,), codes of the queries; -1 is found in no row.
        at_us: int64 (q,), the asked moments.
        windows_us: Lengths of the windows in microseconds.
        owned: Whose queries these are, where a row does not count in what is asked for it.
    """
    shape = (len(windows_us), len(at_us))
    sums = Sums(*(np.zeros(shape, np.int64) for _ in Sums._fields))
    if len(entity) == 0 or len(at_us) == 0:
        return sums
    # Rows that no query reaches are left out first: the online store is asked for a moment, training for a year.
    begin = np.maximum(partials.counted_at, partials.known_at)
    has_begun = begin <= min(int(at_us.max()), NEVER - 1)
    counts = np.flatnonzero(has_begun & (partials.counted_at > at_us.min() - max(windows_us)))
    entity, begin, partials = entity[counts], begin[counts], Partials(*(column[counts] for column in partials))
    if len(counts) == 0:
        return sums
    own = None if owned is None else _own_rows(entity, owned._replace(identity=owned.identity[counts]), asked_entity)
    # A row that is replaced, or leaves the window, before it is known has an empty interval: it ends where it begins.
    ends = [np.maximum(begin, np.minimum(partials.counted_at + window, partials.until)) for window in windows_us]
    codes = np.append(entity, asked_entity)
    begin_key, *end_keys, asked_key = pack(codes, begin, *ends, at_us)
    order = argsort(asked_key)
    ordered = asked_key[order]
    # The key leads with the entity: rows of earlier entities have begun and ended, and cancel out.
    begun = _running(begin_key, partials.value, ordered)
    for window, end_key in enumerate(end_keys):
        ended = _running(end_key, partials.value, ordered)
        sums.counts[window, order] = begun[0] - ended[0]
        sums.totals[window, order] = begun[1] - ended[1]
        if own is not None:
            counted = own.counted(begin, ends[window], at_us)
            np.subtract.at(sums.counts[window], own.query[counted], 1)
            np.subtract.at(sums.totals[window], own.query[counted], partials.value[own.row[counted]])
    if int(sums.counts.max()) * int(np.abs(partials.value).max()) < _WRAP // 2:
        return sums
    # Sums this large are rare. Floats lose their last digits and not how often 2^64 fits.
    rough = partials.value.astype(np.float64)
    begun_roughly = _running(begin_key, rough, ordered)[1]
    for window, end_key in enumerate(end_keys):
        totals = np.empty(len(order))
        totals[order] = begun_roughly - _running(end_key, rough, ordered)[1]
        if own is not None:
            counted = own.counted(begin, ends[window], at_us)
            np.subtract.at(totals, own.query[counted], rough[own.row[counted]])
        sums.wraps[window] = np.rint((totals - sums.totals[window]) / _WRAP)
    return sums


class _OwnRows(NamedTuple):
    """Pairs of a query and a row that it is asked for, both int64 (p,): one for each version of the row."""

    query: Ints
    row: Ints

    def counted(self, begin: Ints, end: Ints, at_us: Ints) -> NDArray[np.bool_]:
        """Return which rows count at their query, bool (p,), by the intervals in which they do."""
        at = at_us[self.query]
        return (begin[self.row] <= at) & (at < end[self.row])


def _own_rows(entity: Ints, owned: Owned, asked_entity: Ints) -> _OwnRows:
    order = argsort(owned.identity)
    ordered = owned.identity[order]
    first = np.searchsorted(ordered, owned.asked, side="left")
    many = np.where(owned.asked == NO_ROW, 0, np.searchsorted(ordered, owned.asked, side="right") - first)
    query = np.repeat(np.arange(len(owned.asked)), many)
    # The places of each query's rows follow each other: counted up from its first.
    within = np.arange(len(query)) - np.repeat(np.cumsum(many) - many, many)
    row = order[first[query] + within]
    is_same = entity[row] == asked_entity[query]
    return _OwnRows(query[is_same], row[is_same])


def _running(key: Ints, value: Any, asked: Ints) -> tuple[Ints, Any]:
    """Return how many keys are at or before each asked one, and the sum of their values, of integers modulo 2^64.

    A running sum over all entities may overflow; the difference of two of them is right modulo 2^64 all the same,
    because it is taken in the same arithmetic.
    """
    # Rows of the online store often come in this order; to see that costs less than to sort.
    if (key[1:] < key[:-1]).any():
        order = argsort(key)
        key, value = key[order], value[order]
    count = np.searchsorted(key, asked, side="right")
    totals = np.concatenate(([0], np.cumsum(value)))
    return count, totals[count]


def finish(function: str, sums: Sums, window: int) -> Floats:
    """Return one aggregate, float64 (q,): ``count``, ``sum``, or ``mean`` (NaN where nothing counts)."""
    count: Floats = sums.counts[window].astype(np.float64)
    total: Floats = (sums.totals[window] + sums.wraps[window] * float(_WRAP)) / SCALE
    if function == "count":
        return count
    if function == "sum":
        return total
    mean = np.full(len(count), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean
