"""Coarser bins for distances between shares, so that no bin is too small to speak."""

import numpy as np
import numpy.typing as npt

from loopwright.data import profiles

Floats = npt.NDArray[np.float64]
GROUPS = 16
LEAST_EXPECTED = 5.0


def group_counts(reference: profiles.ColumnProfile, current: profiles.ColumnProfile) -> tuple[Floats, Floats]:
    """Return both columns' counts in common groups; groups empty in both are left out.

    Numbers: neighbouring bins join to about 16 groups of equal reference mass; below, above and missing stay apart.
    Texts: levels of which fewer than 5 rows are expected in the current rows join to one, and unseen ones join them,
    because a level may be unseen by chance where others are rare; missing stays apart.
    """
    before, after = np.array(reference.counts, dtype=np.float64), np.array(current.counts, dtype=np.float64)
    groups = _number_groups(before) if reference.is_number else _level_groups(before, current.rows)
    size = int(groups.max()) + 1 if len(groups) else 0
    counts = [np.bincount(groups, weights=side, minlength=size) for side in (before, after)]
    pair = np.array([[*counts[0], reference.nulls], [*counts[1], current.nulls]])
    pair = pair[:, pair.sum(axis=0) > 0]
    return pair[0], pair[1]


def smoothed_shares(counts: Floats) -> Floats:
    """Return shares after half a row is added to each group, so that none is zero (Jeffreys' prior)."""
    shares: Floats = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares


def null_mean(before: Floats, after: Floats) -> float:
    """Return ``(B - 1)(1/n + 1/m)``, the mean of PSI without drift; other divergences have a part of it."""
    return (len(before) - 1) * (1 / max(float(before.sum()), 1.0) + 1 / max(float(after.sum()), 1.0))


def _number_groups(before: Floats) -> npt.NDArray[np.int64]:
    inner = before[1:-1]
    if not len(inner) or not inner.sum():
        return np.arange(len(before))
    starts = np.concatenate([[0.0], np.cumsum(inner)[:-1]]) / inner.sum()
    groups = np.floor(starts * GROUPS + 1e-9).astype(np.int64)
    _, groups = np.unique(groups, return_inverse=True)
    return np.concatenate([[0], groups + 1, [groups.max() + 2]]).astype(np.int64)


def _level_groups(before: Floats, rows: int) -> npt.NDArray[np.int64]:
    is_small = before / max(before.sum(), 1) * rows < LEAST_EXPECTED
    # The last count is of all levels that are not told apart, which are mostly rare: that there are many is no drift.
    is_small[-1] = True
    groups = np.cumsum(~is_small)
    groups[is_small] = 0
    return groups.astype(np.int64)
