"""Jensen-Shannon divergence."""

import math

import numpy as np

from loopwright.data import profiles
from loopwright.monitoring.drift.grouping import group_counts, null_mean, smoothed_shares


def jensen_shannon(reference: profiles.ColumnProfile, current: profiles.ColumnProfile) -> float:
    """Return the Jensen-Shannon divergence in base 2 (0..1) less its mean without drift.

    That mean is ``(B - 1)(1/n + 1/m) / (8 ln 2)``.
    Source: Lin 1991, Divergence measures based on the Shannon entropy; the mean by expansion to second order.
    """
    before, after = group_counts(reference, current)
    p, q = smoothed_shares(before), smoothed_shares(after)
    middle = (p + q) / 2
    divergence = float((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum()) / 2
    return divergence - null_mean(before, after) / (8 * math.log(2))
