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


@pytest.mark.parametrize("sample", ["normal", "half null", "levels", "endless levels"])
def test_without_drift_it_is_nought(sample: str, null_distances: Callable[[str, str], np.ndarray]) -> None:
    found = null_distances("ks", sample)
    assert abs(found.mean()) < 0.025
    assert np.quantile(found, 0.99) < 0.04


def test_missing_values_count(between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(5)
    current = np.where(rng.random(2_000) < 0.5, np.nan, rng.normal(size=2_000))
    assert between("ks")(rng.normal(size=20_000), current) == pytest.approx(0.5, abs=0.05)


def test_of_few_values_it_is_exact_and_of_many_at_most_a_bin_too_small(
    between: Callable[..., Callable[..., float]],
) -> None:
    rng = np.random.default_rng(8)
    noise = 0.8687 * np.sqrt(1 / 6_000 + 1 / 2_000)
    one, other = rng.normal(20, 4, 6_000), rng.normal(21.3, 4, 2_000)
    tied = between("ks")(one // 5, other // 5) + noise
    assert tied == pytest.approx(exact(one // 5, other // 5), abs=1e-4)
    assert 0 <= exact(one, other) - (between("ks")(one, other) + noise) < 1 / 64 + 1e-4


def test_a_level_that_was_never_seen_is_drift(between: Callable[..., Callable[..., float]]) -> None:
    assert between("ks")(["a", "b"] * 5_000, ["a", "b", "c"] * 500) == pytest.approx(1 / 3, abs=0.03)
