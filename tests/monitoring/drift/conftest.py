"""Samples without drift, and how often a distance calls them drifted."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from loopwright.data import profiles
from loopwright.data.profiles import ColumnProfile, Profile
from loopwright.kernel.plugins import load_plugin
from loopwright.monitoring import build_reference


def freeze(column: pl.Series) -> ColumnProfile:
    """Return the profile of a reference's column."""
    return build_reference(pl.DataFrame({"x": column}), ["x"]).profile.columns["x"]


def count(column: pl.Series, like: ColumnProfile) -> ColumnProfile:
    """Return the profile of a window's column."""
    return profiles.profile_like(pl.DataFrame({"x": column}), Profile(like.rows, {"x": like})).columns["x"]


REFERENCE_ROWS, WINDOW_ROWS, TRIALS = 20_000, 900, 300


@pytest.fixture
def between() -> Callable[[str], Callable[..., float]]:
    """``between("psi")(reference, current)`` is the distance of two columns of values."""

    def of(name: str) -> Callable[..., float]:
        def distance(reference: object, current: object) -> float:
            like = freeze(pl.Series(reference))
            return float(load_plugin("drift_metrics", name)(like, count(pl.Series(current), like)))

        return distance

    return of


SAMPLES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 2, n),
    "poisson": lambda rng, n: rng.poisson(3, n).astype(float),
    "zero inflated": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.gamma(2, 3, n)),
    "half null": lambda rng, n: np.where(rng.random(n) < 0.5, np.nan, rng.normal(size=n)),
    "levels": lambda rng, n: rng.choice([f"l{i}" for i in range(20)], n),
    "endless levels": lambda rng, n: np.array([f"l{i}" for i in rng.zipf(1.3, n) % 100_000]),
    "thousand levels": lambda rng, n: np.array([f"l{i}" for i in np.minimum(rng.zipf(1.3, n), 1000)]),
}


@pytest.fixture
def null_distances() -> Callable[[str, str], np.ndarray]:
    """``null_distances("psi", "normal")``: distances of 300 windows of 900 rows, drawn like the reference of 20,000."""

    def of(name: str, sample: str) -> np.ndarray:
        rng = np.random.default_rng(len(sample))
        draw = SAMPLES[sample]
        like = freeze(pl.Series(draw(rng, REFERENCE_ROWS)))
        distance = load_plugin("drift_metrics", name)
        return np.array([distance(like, count(pl.Series(draw(rng, WINDOW_ROWS)), like)) for _ in range(TRIALS)])

    return of
