"""Wasserstein distance from bins with counts and sums."""

from collections.abc import Callable

import numpy as np
import pytest


def exact(one: np.ndarray, other: np.ndarray) -> float:
    points = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(side), points[:-1], side="right") / len(side) for side in (one, other)]
    return float((np.abs(shares[0] - shares[1]) * np.diff(points)).sum())


@pytest.mark.parametrize("shift", [0.3, 2.0, -5.0])
def test_bins_give_the_exact_distance(shift: float, between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(6)
    one, other = rng.normal(size=20_000), rng.normal(shift, 1, 20_000)
    assert between("wasserstein")(one, other) == pytest.approx(exact(one, other), rel=0.06)


def test_heavy_tails_beyond_the_reference_count(between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(7)
    one = rng.lognormal(0, 1, 20_000)
    wasserstein = between("wasserstein")
    ratio = wasserstein(one, one * 30) / wasserstein(one, one * 3)
    assert ratio == pytest.approx(exact(one, one * 30) / exact(one, one * 3), rel=0.01)


def test_missing_values_and_levels(between: Callable[..., Callable[..., float]]) -> None:
    assert between("wasserstein")([1.0, 2.0] * 500, [1.0, 2.0, None, None] * 100) == pytest.approx(0.5)
    assert between("wasserstein")(["a"] * 100, ["b"] * 100) == pytest.approx(1)
    assert between("wasserstein")([1.0] * 100, [1.0] * 100) == pytest.approx(0)


def test_tied_values_count_in_units_of_their_own_spread(between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(9)
    one, other = rng.normal(20, 4, 6_000) // 5, rng.normal(21.5, 4, 2_000) // 5
    low, high = np.quantile(one, [0.16, 0.84])
    assert between("wasserstein")(one, other) == pytest.approx(exact(one, other) / ((high - low) / 2))


def test_a_constant_column_counts_in_its_own_unit(between: Callable[..., Callable[..., float]]) -> None:
    assert between("wasserstein")([3.5] * 6_000, [3.5] * 800 + [4.0] * 200) == pytest.approx(0.1)


def test_a_column_of_mostly_one_value_counts_in_standard_deviations(
    between: Callable[..., Callable[..., float]],
) -> None:
    rng = np.random.default_rng(10)
    one, other = (np.where(rng.random(20_000) < share, 0.0, rng.gamma(2, 30, 20_000)) for share in (0.9, 0.8))
    found = between("wasserstein")(one, other)
    assert found == pytest.approx(exact(one, other) / one.std(), rel=0.1)
