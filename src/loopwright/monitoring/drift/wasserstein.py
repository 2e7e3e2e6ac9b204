"""Wasserstein distance (earth mover's)."""

import numpy as np
import numpy.typing as npt

from loopwright.data import profiles

Floats = npt.NDArray[np.float64]


def wasserstein(reference: profiles.ColumnProfile, current: profiles.ColumnProfile) -> float:
    """Return the area between the cumulative shares, in units of the reference's spread, plus the missing change.

    The spread is half the distance of the reference's 16 % and 84 % quantiles, its standard deviation where both are
    one value, and 1 of a constant column. Within a bin with edges a and b the area under a cumulative share F is
    ``b F(b) - a F(a) - sum / n`` exactly, so the distance is exact but for bins in which the two cross. Texts: half
    the sum of the absolute differences of level shares. Source: Vallender 1974.
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
    return float(area / _spread(before, np.array(reference.sums))) + missing


def _spread(counts: Floats, sums: Floats) -> float:
    """Return the spread of binned values; each counts as the mean of its bin, which is the value where there are few.

    The edges of a bin will not do: that of a single value is the smallest step between two floats.
    """
    counts, sums = counts[counts > 0], sums[counts > 0]
    means = sums / counts
    low, high = np.searchsorted(np.cumsum(counts) / counts.sum(), [0.16, 0.84])
    half = float(means[high] - means[low]) / 2
    if half > 0:
        return half
    middle = sums.sum() / counts.sum()
    return float(np.sqrt((counts * (means - middle) ** 2).sum() / counts.sum())) or 1.0
