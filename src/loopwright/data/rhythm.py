"""Rhythm: does a dataset still get versions as often as it used to?

Nothing declares when rows are due, so a feed is held to its own past. One that came regularly and stopped is late; of
one that comes whenever somebody sends rows nothing can be said, and nothing is.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

from loopwright.data import sql
from loopwright.store.tx import Tx

LEAST_GAPS = 5
"""Gaps between versions that make a rhythm."""
NEWEST_GAPS = 10
"""Gaps that are looked at: a feed that now comes daily is not held to the weeks before."""
MOST_UNEVEN = 3.0
"""A feed whose longest gap is more than so many times its median has no rhythm."""
LATE_AFTER = 2.0
"""A feed is late after so many times its longest gap: once the longest, and once more for a weekend or a slow day."""


class LateFeed(msgspec.Struct, frozen=True):
    """A dataset whose next version should have come: when the newest did, and the longest wait before that.

    ``newest_at`` is event time in microseconds UTC, ``usual_us`` microseconds.
    """

    dataset: str
    newest_at: int
    usual_us: int


def late_feeds(tx: Tx) -> list[LateFeed]:
    """Return the datasets whose newest ready version is older than their rhythm allows, by name."""
    late = []
    for dataset, made_at in sorted(sql.ready_times(tx, NEWEST_GAPS + 1).items()):
        usual_us = longest_usual_gap(made_at)
        if usual_us is not None and tx.now_us - made_at[0] > LATE_AFTER * usual_us:
            late.append(LateFeed(dataset, made_at[0], usual_us))
    return late


def longest_usual_gap(made_at: Sequence[int]) -> int | None:
    """Return the longest gap between moments that come regularly, None where they do not.

    Args:
        made_at: Moments in microseconds, newest first.

    >>> longest_usual_gap([60, 50, 40, 30, 20, 10]), longest_usual_gap([80, 79, 78, 30, 20, 10])
    (10, None)
    """
    gaps = [later - earlier for later, earlier in pairwise(made_at)]
    if len(gaps) < LEAST_GAPS or median(gaps) <= 0 or max(gaps) > MOST_UNEVEN * median(gaps):
        return None
    return max(gaps)
