"""Exact sums: correctly rounded, and the same in any order and grouping."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loopwright.data.profiles.sums import exact_sums

floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=64),
    st.floats(-1, 1),
    st.sampled_from([1e16, -1e16, 1.0, 1e-300, 5e-324, 2.0**959, 2.0**961, -0.0]),
)


def add(values: list[float]) -> list[float]:
    return [layer[0] for layer in exact_sums(np.array(values, dtype=np.float64), [len(values)])]


@given(st.lists(floats, max_size=40))
def test_a_sum_is_the_nearest_float_and_its_rests_are_what_that_leaves(values: list[float]) -> None:
    exact = sum(map(Fraction, values), Fraction())
    parts = add(values)
    if math.isinf(parts[0]):
        assert abs(exact) > Fraction(1.7976931348623157e308)
        return
    assert parts[0] == math.fsum(values)
    assert sum(map(Fraction, parts), Fraction()) == exact


@given(st.lists(st.floats(-1e300, 1e300), max_size=40), st.integers(0, 40), st.randoms())
def test_the_sum_of_parts_is_that_of_the_whole(values: list[float], cut: int, chance: object) -> None:
    shuffled = list(values)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert add([*add(shuffled[:cut]), *add(shuffled[cut:])]) == add(values)


def test_groups_are_summed_apart_empty_ones_too() -> None:
    values = np.array([1e16, 1.0, -1e16, 2.0, math.inf, 3.0, 1e308, 1e308])
    sums, *_ = exact_sums(values, [0, 3, 4, 4, 5, 6, 8])
    assert sums == [0.0, 1.0, 2.0, 0.0, math.inf, 3.0, math.inf]


def test_a_million_values_of_very_different_size() -> None:
    values = np.random.default_rng(0).lognormal(0, 20, 200_000)
    [sums, *_] = exact_sums(values, [len(values)])
    assert sums == [math.fsum(values)]
