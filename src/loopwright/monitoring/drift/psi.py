"""Population stability index."""

import numpy as np

from loopwright.data import profiles
from loopwright.monitoring.drift.grouping import group_counts, null_mean, smoothed_shares


def psi(reference: profiles.ColumnProfile, current: profiles.ColumnProfile) -> float:
    """Return ``sum((q - p) ln(q / p))`` over groups, in nats, less its mean without drift.

    0.2 is commonly called a shift. Source: Kullback & Leibler 1951 (the symmetric divergence J); its mean without
    drift, ``(B - 1)(1/n + 1/m)``: Yurdakul 2018, Statistical Properties of Population Stability Index.
    """
    before, after = group_counts(reference, current)
    p, q = smoothed_shares(before), smoothed_shares(after)
    return float(((q - p) * np.log(q / p)).sum()) - null_mean(before, after)
