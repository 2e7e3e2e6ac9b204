"""Distances of a window from the reference, one file each, as functions of two profiles of a column in the same bins.

A distance is a function ``(reference: ColumnProfile, current: ColumnProfile) -> float``, larger for further, 0
expected without drift. It must see missing values: a column that turns half null has drifted.
"""

from loopwright.kernel.plugins import add_built_in

DRIFT_METRICS = "drift_metrics"
"""Plugin kind of distances: taken from here by whoever asks for one, so that the platform's are known."""
add_built_in(
    DRIFT_METRICS,
    {
        "psi": "loopwright.monitoring.drift.psi:psi",
        "js": "loopwright.monitoring.drift.js:jensen_shannon",
        "ks": "loopwright.monitoring.drift.ks:kolmogorov_smirnov",
        "wasserstein": "loopwright.monitoring.drift.wasserstein:wasserstein",
        "missing": "loopwright.monitoring.drift.missing:missing_change",
    },
)
