"""How moments spread over time: counts of stretches that are a power of two microseconds long and begin at a multiple.

Bins that the first rows freeze say nothing of moments, for later rows lie beyond them. Stretches of powers of two need
no freezing: how long they are follows from the first and the last moment alone, two of one length are one of the next,
and so parts merge in any order and grouping to what counting all rows together gives.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

MOST_STRETCHES = 64


class Spread(msgspec.Struct, frozen=True):
    """Moments by stretch: the first begins at ``first`` times ``2 ** level`` microseconds; each has its count."""

    level: int
    first: int
    counts: list[int]


def count_spread(ticks: npt.NDArray[np.int64]) -> Spread | None:
    """Return how moments spread, int64 microseconds (n,) in any order; None of none."""
    if not len(ticks):
        return None
    level = _level(int(ticks.min()), int(ticks.max()), 0)
    places = ticks >> level
    first = int(places.min())
    return Spread(level, first, np.bincount(places - first).tolist())


def merge_spreads(parts: Sequence[Spread]) -> Spread | None:
    """Return how the moments of all parts spread."""
    if not parts:
        return None
    coarsest = max(part.level for part in parts)
    low = min(part.first << part.level for part in parts)
    high = max(part.first + len(part.counts) - 1 << part.level for part in parts)
    level = _level(low, high, coarsest)
    first = low >> level
    counts = [0] * ((high >> level) - first + 1)
    for part in parts:
        for place, count in enumerate(part.counts, part.first):
            counts[(place >> level - part.level) - first] += count
    return Spread(level, first, counts)


def _level(low: int, high: int, level: int) -> int:
    """Return the least level, of those from one on, at which few stretches reach from one moment to another."""
    while (high >> level) - (low >> level) >= MOST_STRETCHES:
        level += 1
    return level
