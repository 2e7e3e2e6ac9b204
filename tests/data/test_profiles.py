"""Profiles: merging parts equals profiling the whole; nothing odd in the values breaks it."""

import math
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.data.profiles import Profile, from_bytes, merge, profile_frame, to_bytes
from loopwright.kernel.errors import Corrupt, InvalidInput

numbers = st.one_of(st.none(), st.floats(width=64), st.floats(-100, 100))
texts = st.one_of(st.none(), st.sampled_from(["a", "b", "c", ""]), st.text(max_size=3))


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    size = draw(st.integers(0, 30))
    columns = {
        "x": pl.Series(draw(st.lists(numbers, min_size=size, max_size=size)), dtype=pl.Float64),
        "n": pl.Series(draw(st.lists(st.integers(-5, 5), min_size=size, max_size=size)), dtype=pl.Int32),
        "t": pl.Series(draw(st.lists(texts, min_size=size, max_size=size)), dtype=pl.String),
        "b": pl.Series(draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=pl.Boolean),
    }
    return pl.DataFrame(columns)


def same(left: Profile, right: Profile) -> bool:
    """Equal but for the rounding of float sums."""
    import msgspec

    one, other = msgspec.to_builtins(left), msgspec.to_builtins(right)
    return close(one, other)


def close(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(close(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        # Sums of values near the largest float overflow in one order and not in another.
        huge = max(abs(one), abs(other)) > 1e290 or math.isnan(one) or math.isnan(other)
        return huge or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6 * 30 * 1e4)
    return one == other


@settings(max_examples=60)
@given(frames(), frames(), frames(), frames())
def test_merging_is_free_of_order_and_grouping(
    first: pl.DataFrame, a: pl.DataFrame, b: pl.DataFrame, c: pl.DataFrame
) -> None:
    like = profile_frame(
        pl.concat([first, pl.DataFrame({"x": [0.5], "n": [1], "t": ["a"], "b": [True]}, first.schema)])
    )
    one, two, three = (profile_frame(frame, like) for frame in (a, b, c))
    assert same(merge(one, two), merge(two, one))
    assert same(merge(merge(one, two), three), merge(one, merge(two, three)))
    assert same(merge(one, two), profile_frame(pl.concat([a, b]), like))
    assert same(merge(one, profile_frame(a.clear(), like)), one)
    assert from_bytes(to_bytes(one)) == one


def test_a_column_may_have_any_name() -> None:
    frame = pl.DataFrame({"rows": ["a", None, "b"], "value": ["c", "c", None], "^.*$": [None, 1.0, 2.0]})
    found = profile_frame(frame).columns
    assert (found["rows"].category_counts, found["value"].category_counts) == ([1, 1], [2])
    assert (found["^.*$"].nulls, found["^.*$"].low) == (1, 1.0)


def test_a_first_profile_fills_no_outer_bin_and_later_ones_may() -> None:
    first = profile_frame(pl.DataFrame({"x": np.arange(1000.0)}))
    column = first.columns["x"]
    assert len(column.bin_counts) == len(column.edges) + 1 == 66
    assert (column.bin_counts[0], column.bin_counts[-1], sum(column.bin_counts)) == (0, 0, 1000)
    later = profile_frame(pl.DataFrame({"x": [-1.0, 0.0, 999.0, 999.5]}), first).columns["x"]
    assert (later.bin_counts[0], later.bin_counts[1], later.bin_counts[-2], later.bin_counts[-1]) == (1, 1, 1, 1)
    assert later.bin_sums[-1] == 999.5


def test_few_different_values_have_a_bin_each() -> None:
    column = profile_frame(pl.DataFrame({"month": [1, 2, 2, 12]})).columns["month"]
    assert column.bin_counts == [0, 1, 2, 1, 0]


def test_nulls_nan_and_infinity_are_told_apart() -> None:
    column = profile_frame(pl.DataFrame({"x": [1.0, 3.0, None, math.nan, math.inf]})).columns["x"]
    assert (column.rows, column.nulls, column.nans, column.infinities, column.count) == (5, 1, 1, 1, 3)
    assert (column.low, column.high, column.mean) == (1.0, 3.0, 2.0)


def test_distinct_values_are_exact_while_few_and_estimated_when_many() -> None:
    few = profile_frame(pl.DataFrame({"x": [f"v{i % 700}" for i in range(2000)]}))
    assert few.columns["x"].distinct_estimate == 700
    many = profile_frame(pl.DataFrame({"x": range(100_000)}), None)
    assert abs(many.columns["x"].distinct_estimate - 100_000) < 5000
    parts = [profile_frame(pl.DataFrame({"x": range(start, start + 900)}), many) for start in (0, 900)]
    assert abs(merge(*parts).columns["x"].distinct_estimate - 1800) < 90


def test_the_commonest_values_are_counted_and_the_rest_summed() -> None:
    values = [f"v{i:03}" for i in range(150) for _ in range(2 if i < 100 else 1)]
    column = profile_frame(pl.DataFrame({"t": values})).columns["t"]
    assert (len(column.categories), sum(column.category_counts), column.other) == (100, 200, 50)


def test_a_column_that_came_later_counts_as_missing_before() -> None:
    old = profile_frame(pl.DataFrame({"a": [1, 2]}))
    merged = merge(old, profile_frame(pl.DataFrame({"a": [3], "b": ["x"]}), old))
    assert (merged.rows, merged.columns["b"].nulls, merged.columns["b"].categories) == (3, 2, ["x"])


def test_moments_have_a_range() -> None:
    column = profile_frame(pl.DataFrame({"at": [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)]})).columns["at"]
    assert (column.kind, column.low, column.edges) == ("moment", 1e6, [])


def test_another_kind_or_another_histogram_is_refused() -> None:
    left = profile_frame(pl.DataFrame({"a": [1, 2]}))
    with pytest.raises(InvalidInput, match="holds a category"):
        profile_frame(pl.DataFrame({"a": ["x"]}), left)
    with pytest.raises(InvalidInput, match="cannot be merged"):
        merge(left, profile_frame(pl.DataFrame({"a": [7, 8, 9]})))
    with pytest.raises(Corrupt):
        from_bytes(b"nothing")
