"""Kolmogorov-Smirnov distance from bins."""

from collections.abc import Callable

import numpy as np
import pytest


def exact(one: np.ndarray, other: np.ndarray) -> float:
    points = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(side), points, side="right") / len(side) for side in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def test_bins_give_nearly_the_exact_distance(between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(4)
    one, other = rng.lognormal(size=50_000), rng.lognormal(0.3, 1, 50_000)
    noise = 0.8687 * np.sqrt(2 / 50_000)
    assert between("ks")(one, other) + noise == pytest.approx(exact(one, other), abs=0.005)


@pytest.mark.parametrize("sample", ["normal", "half null", "levels"])
def test_without_drift_it_is_nought(sample: str, null_distances: Callable[[str, str], np.ndarray]) -> None:
    found = null_distances("ks", sample)
    assert abs(found.mean()) < 0.025
    assert np.quantile(found, 0.99) < 0.04


def test_missing_values_count(between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(5)
    current = np.where(rng.random(2_000) < 0.5, np.nan, rng.normal(size=2_000))
    assert between("ks")(rng.normal(size=20_000), current) == pytest.approx(0.5, abs=0.05)
