"""Change of the missing rate."""

from collections.abc import Callable

import pytest


def test_it_is_the_difference_of_the_shares(between: Callable[..., Callable[..., float]]) -> None:
    missing = between("missing")
    assert missing([1.0, None] * 50, [1.0] * 30) == pytest.approx(0.5)
    assert missing([1.0] * 50, [9.0] * 30) == 0
