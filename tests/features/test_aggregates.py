"""Aggregates: sums from sorted lists equal the slow way to the bit, whatever the delays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.features.aggregates import SCALE, Partials, finish, sum_windows, superseded_at, to_fixed
from loopwright.features.pointintime import NEVER, Owned
from loopwright.kernel.errors import InvalidInput

WINDOWS = [3, 10]
rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-10, 10),
        st.one_of(st.integers(-10, 20), st.just(NEVER)),
        st.floats(-1e6, 1e6) | st.floats(1e12, 1.09e12) | st.just(-1.09e12),
        st.integers(0, 30),
    ),
    max_size=25,
)
queries = st.lists(st.tuples(st.integers(-1, 3), st.integers(-12, 24)), max_size=12)
Row = tuple[int, int, int, float, int]


def slow(found: list[Row], entity: int, at: int, window: int, own: int = -1) -> tuple[int, int]:
    """Versions of a row by identity: the last one known by then counts, if it is in the window, and not the own."""
    newest: dict[int, tuple[int, int, int]] = {}
    for who, event, known, number, identity in found:
        if who == entity and known <= at and identity != own:
            version = (known, event, round(number * SCALE))
            newest[identity] = max(newest.get(identity, version), version)
    kept = [value for _, event, value in newest.values() if at - window < event <= at]
    return len(kept), sum(kept)


def parts(found: list[Row]) -> tuple[np.ndarray, Partials]:
    entity, event, known, identity = (np.array([row[place] for row in found], np.int64) for place in (0, 1, 2, 4))
    value = to_fixed(np.array([row[3] for row in found], np.float64), "x")
    partials = Partials(event, known, known, value)
    return entity, partials._replace(until=superseded_at(entity, identity, partials))


@given(rows, queries, st.booleans())
def test_sums_equal_the_slow_ones(found: list[Row], asked: list[tuple[int, int]], is_owned: bool) -> None:
    entity, partials = parts(found)
    who, at = np.array(asked, np.int64).reshape(-1, 2).T
    own = [found[3 * place % len(found)][4] if is_owned and found and place % 3 else -1 for place in range(len(asked))]
    expected = [
        [slow(found, entity, moment, window, mine) for (entity, moment), mine in zip(asked, own, strict=True)]
        for window in WINDOWS
    ]

    identity = np.array([row[4] for row in found], np.int64)
    owned = Owned(identity, np.array(own, np.int64)) if is_owned else None
    sums = sum_windows(entity, partials, who, at, WINDOWS, owned)
    totals = [
        [low + (high << 64) for low, high in zip(*pair, strict=True)]
        for pair in zip(sums.totals.tolist(), sums.wraps.tolist(), strict=True)
    ]
    assert [list(zip(*pair, strict=True)) for pair in zip(sums.counts.tolist(), totals, strict=True)] == expected


def test_nothing_counts_as_zero_and_has_no_mean() -> None:
    empty = sum_windows(
        np.zeros(0, np.int64), Partials(*[np.zeros(0, np.int64)] * 4), np.array([0]), np.array([0]), [3]
    )
    assert finish("count", empty, 0).tolist() == [0.0]
    assert finish("sum", empty, 0).tolist() == [0.0]
    assert np.isnan(finish("mean", empty, 0)).all()


@pytest.mark.parametrize("number", [float("inf"), 2.0**40, -(2.0**40)])
def test_a_value_that_cannot_be_summed_exactly_is_refused(number: float) -> None:
    with pytest.raises(InvalidInput, match="2\\^40"):
        to_fixed(np.array([number]), "weather.temp")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_beyond_64_bits_is_the_sum(sign: int) -> None:
    rows = 1_000
    entity, partials = parts([(0, 0, 0, sign * 1e12, place) for place in range(rows)])
    sums = sum_windows(entity, partials, np.array([0]), np.array([1]), [3])
    assert finish("sum", sums, 0).tolist() == [sign * 1e15]
    assert finish("mean", sums, 0).tolist() == [sign * 1e12]


def test_whole_numbers_are_exact() -> None:
    assert to_fixed(np.array([2.0**40 - 1, 1.0]), "x").tolist() == [(2**40 - 1) * SCALE, SCALE]
