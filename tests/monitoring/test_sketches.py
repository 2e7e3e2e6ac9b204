"""Sketches: frozen bins, exact merging."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.errors import InvalidInput
from loopwright.monitoring import sketches
from loopwright.monitoring.sketches import Profile, build_profile, count, freeze_sketch, merge

numbers = st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60)
texts = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), max_size=60)
REFERENCE = pl.DataFrame({"x": np.random.default_rng(0).normal(size=500), "y": list("aabbc") * 100})
LIKE = Profile(500, {name: freeze_sketch(REFERENCE.get_column(name)) for name in "xy"})


def profile(xs: list[float | None], ys: list[str | None]) -> Profile:
    size = min(len(xs), len(ys))
    frame = pl.DataFrame({"x": xs[:size], "y": ys[:size]}, schema={"x": pl.Float64, "y": pl.String}, strict=False)
    return build_profile(frame, LIKE)


@given(numbers, numbers, texts, texts)
def test_merging_equals_counting_all_rows(xs: list[float], more: list[float], ys: list[str], others: list[str]) -> None:
    size, rest = min(len(xs), len(ys)), min(len(more), len(others))
    merged = merge([profile(xs, ys), profile(more, others)])
    whole = profile(xs[:size] + more[:rest], ys[:size] + others[:rest])
    assert merged.rows == whole.rows
    for name in "xy":
        one, other = merged.sketches[name], whole.sketches[name]
        assert (one.counts, one.nulls) == (other.counts, other.nulls)
        assert all(
            math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6) or abs(a) > 1e300
            for a, b in zip(one.sums, other.sums, strict=True)
        )


@given(numbers, texts, numbers, texts)
def test_merging_has_no_order(xs: list[float], ys: list[str], more: list[float], others: list[str]) -> None:
    one, other = profile(xs, ys), profile(more, others)
    assert merge([one, other]).sketches["x"].counts == merge([other, one]).sketches["x"].counts
    assert merge([one, other]).sketches["y"] == merge([other, one]).sketches["y"]


@given(numbers)
def test_every_row_is_counted_once(xs: list[float | None]) -> None:
    sketch = profile(xs, ["a"] * len(xs)).sketches["x"]
    assert sketch.rows == len(xs)
    assert sketch.nulls == sum(x is None or math.isnan(x) for x in xs)


def test_values_outside_the_reference_have_bins_of_their_own() -> None:
    like = freeze_sketch(pl.Series([1.0, 2.0, 3.0]))
    found = count(pl.Series([0.5, 1.0, 3.0, 3.5, math.inf, -math.inf, None]), like)
    assert (found.counts[0], found.counts[-1], found.nulls) == (2, 2, 1)
    assert found.counts[1:-1] == [1, 0, 1]
    assert found.sums[-1] == 3.5


def test_an_unseen_level_and_a_level_that_is_missing() -> None:
    found = count(pl.Series(["a", "new", None]), LIKE.sketches["y"])
    assert found.levels == ["a", "b", "c"]
    assert (found.counts, found.nulls) == ([1, 0, 0, 1], 1)


def test_booleans_and_whole_numbers_are_numbers() -> None:
    for column in (pl.Series([True, False, None]), pl.Series([1, 0, None])):
        like = freeze_sketch(column)
        assert like.is_number
        assert count(pl.Series([1.0, 1.0, None]), like).counts[1:-1] == [0, 2]


def test_a_column_that_is_gone_is_missing_in_every_row() -> None:
    found = build_profile(pl.DataFrame({"y": ["a", "b"]}), LIKE)
    assert found.sketches["x"].missing == 1.0


def test_an_empty_reference_column_counts_what_comes() -> None:
    like = freeze_sketch(pl.Series([None, None], dtype=pl.Float64))
    assert count(pl.Series([1.0, None]), like).rows == 2


def test_profiles_of_two_references_do_not_merge() -> None:
    other = Profile(3, {name: freeze_sketch(REFERENCE.get_column(name)[:7]) for name in "xy"})
    with pytest.raises(InvalidInput, match="bins of x differ"):
        merge([LIKE, other])


def test_stored_bytes_come_back_and_spoiled_ones_are_named() -> None:
    assert sketches.profile_from_bytes(sketches.to_bytes(LIKE)) == LIKE
    with pytest.raises(Exception, match="cannot be read"):
        sketches.reference_from_bytes(b"spoiled")
