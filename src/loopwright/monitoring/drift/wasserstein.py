"""Wasserstein distance (earth mover's)."""

import numpy as np
import numpy.typing as npt

from loopwright.data import profiles

Floats = npt.NDArray[np.float64]


def wasserstein(reference: profiles.ColumnProfile, current: profiles.ColumnProfile) -> float:
    """Return the area between the cumulative shares, in units of the reference's spread, plus the missing change.

    The spread is half the distance of the reference's 16 % and 84 % quantiles. Within a bin with edges a and b the
    area under a cumulative share F is ``b F(b) - a F(a) - sum / n`` exactly, so the distance is exact but for bins in
    which the two cross. Texts: half the sum of the absolute differences of level shares. Source: Vallender 1974.
    """
    missing = abs(current.missing - reference.missing)
    before, after = np.array(reference.counts, dtype=np.float64), np.array(current.counts, dtype=np.float64)
    n, m = before.sum(), after.sum()
    if not n or not m:
        return missing
    if not reference.is_number:
        return float(np.abs(after / m - before / n).sum()) / 2 + missing
    edges = np.array(reference.edges)
    difference = np.cumsum(after) / m - np.cumsum(before) / n
    sums = np.array(current.sums) / m - np.array(reference.sums) / n
    inner = edges[1:] * difference[1:-1] - edges[:-1] * difference[:-2] - sums[1:-1]
    below = edges[0] * difference[0] - sums[0]
    above = edges[-1] * difference[-2] + sums[-1]
    area = abs(below) + np.abs(inner).sum() + abs(above)
    return float(area / _spread(edges, before)) + missing


def _spread(edges: Floats, counts: Floats) -> float:
    """Return half the distance of the 16 % and 84 % quantiles, from bins; 1 for a constant column."""
    shares = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(shares, [0.16, 0.84])
    width = edges[min(int(high), len(edges) - 1)] - edges[max(int(low) - 1, 0)]
    return float(width) / 2 or 1.0
