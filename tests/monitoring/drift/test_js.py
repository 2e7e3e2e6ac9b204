"""Jensen-Shannon divergence in base 2."""

from collections.abc import Callable

import numpy as np
import pytest


@pytest.mark.parametrize("sample", ["normal", "half null", "thousand levels", "endless levels"])
def test_without_drift_it_is_nought(sample: str, null_distances: Callable[[str, str], np.ndarray]) -> None:
    found = null_distances("js", sample)
    assert abs(found.mean()) < 0.002
    assert np.quantile(found, 0.99) < 0.01


def test_columns_that_share_no_value_are_one_apart(between: Callable[..., Callable[..., float]]) -> None:
    assert between("js")([1.0] * 10_000, [2.0] * 10_000) == pytest.approx(1, abs=0.01)
    assert between("js")(["a"] * 10_000, ["b"] * 10_000) == pytest.approx(1, abs=0.01)
