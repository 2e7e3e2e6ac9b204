"""PSI: calibrated without drift, robust, awake."""

from collections.abc import Callable

import numpy as np
import pytest

SAMPLES = [
    "normal",
    "lognormal",
    "poisson",
    "zero inflated",
    "half null",
    "levels",
    "thousand levels",
    "endless levels",
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_without_drift_it_is_nought_and_raises_no_alarm(
    sample: str, null_distances: Callable[[str, str], np.ndarray]
) -> None:
    found = null_distances("psi", sample)
    assert abs(found.mean()) < 0.01
    assert (found > 0.2).mean() == 0
    assert np.quantile(found, 0.99) < 0.06


def test_a_shift_of_half_a_deviation_is_seen(between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(1)
    distance = between("psi")(rng.normal(size=20_000), rng.normal(0.5, 1, 5_000))
    assert 0.2 < distance < 0.35


def test_one_outlier_changes_nothing(between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(2)
    reference, current = rng.normal(size=20_000), rng.normal(0.5, 1, 5_000)
    with_outlier = np.append(current, 1e6)
    psi = between("psi")
    assert abs(psi(reference, with_outlier) - psi(reference, current)) < 0.02
    assert psi(reference, np.append(rng.normal(size=900), 1e6)) < 0.05


def test_a_column_that_turns_half_null_has_drifted(between: Callable[..., Callable[..., float]]) -> None:
    rng = np.random.default_rng(3)
    current = np.where(rng.random(900) < 0.5, np.nan, rng.normal(size=900))
    assert between("psi")(rng.normal(size=20_000), current) > 1


def test_a_constant_column_that_changes_has_drifted(between: Callable[..., Callable[..., float]]) -> None:
    assert between("psi")([5.0] * 10_000, [6.0] * 900) > 1
    assert between("psi")([5.0] * 10_000, [5.0] * 900) == pytest.approx(0, abs=0.01)


def test_unseen_levels_are_drift(between: Callable[..., Callable[..., float]]) -> None:
    assert between("psi")(["a", "b"] * 5_000, ["a", "c"] * 450) > 0.5
