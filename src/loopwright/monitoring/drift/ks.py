"""Kolmogorov-Smirnov distance."""

import numpy as np

from loopwright.data import profiles
from loopwright.monitoring.drift.grouping import group_counts


def kolmogorov_smirnov(reference: profiles.ColumnProfile, current: profiles.ColumnProfile) -> float:
    """Return the largest difference of the cumulative shares (0..1), missing values first.

    Of texts it is the largest difference of the share of any level, rare and unseen ones together. Of numbers it is
    read at the edges of 64 bins: exact where there are no more values than that, else up to 1/64 too small. Its mean
    without drift, ``0.87 sqrt(1/n + 1/m)``, is subtracted. Source: Smirnov 1939; the mean of the Kolmogorov
    distribution is ``sqrt(pi / 2) ln 2``.
    """
    if reference.is_number:
        before = np.array([reference.nulls, *reference.counts], dtype=np.float64)
        after = np.array([current.nulls, *current.counts], dtype=np.float64)
    else:
        before, after = group_counts(reference, current)
    n, m = max(before.sum(), 1.0), max(after.sum(), 1.0)
    differences = after / m - before / n
    if reference.is_number:
        differences = np.cumsum(differences)
    return float(np.abs(differences).max()) - float(np.sqrt(np.pi / 2) * np.log(2) * np.sqrt(1 / n + 1 / m))
