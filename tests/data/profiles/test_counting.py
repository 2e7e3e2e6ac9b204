"""Counting rows in bins that are given: every row once, whatever it holds."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.data import profiles
from loopwright.data.profiles import Profile, merge, place_rows, profile_column, profile_like

numbers = st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60)
texts = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), max_size=60)
REFERENCE = pl.DataFrame({"x": np.random.default_rng(0).normal(size=500), "y": list("aabbc") * 100})
LIKE = Profile(500, {name: profile_column(REFERENCE.get_column(name)) for name in "xy"})


def frame_of(xs: list[float | None], ys: list[str | None]) -> pl.DataFrame:
    size = min(len(xs), len(ys))
    return pl.DataFrame({"x": xs[:size], "y": ys[:size]}, schema={"x": pl.Float64, "y": pl.String}, strict=False)


@given(numbers, texts, st.randoms())
def test_merging_parts_in_any_order_equals_counting_all_rows_to_the_bit(
    xs: list[float | None], ys: list[str | None], chance: object
) -> None:
    frame = frame_of(xs, ys)
    parts = [profile_like(part, LIKE) for part in (*frame.iter_slices(7), frame.clear())]
    chance.shuffle(parts)  # type: ignore[attr-defined]
    assert repr(merge(*parts)) == repr(profile_like(frame, LIKE))  # repr: a sum beyond all floats may be NaN


@given(numbers)
def test_every_row_is_counted_once(xs: list[float | None]) -> None:
    column = profile_like(frame_of(xs, ["a"] * len(xs)), LIKE).columns["x"]
    assert sum(column.counts) + column.nulls == column.rows == len(xs)
    assert column.nulls == sum(x is None or math.isnan(x) for x in xs)


@given(numbers, texts)
def test_places_and_counts_agree(xs: list[float | None], ys: list[str | None]) -> None:
    frame = frame_of(xs, ys)
    counted = profile_like(frame, LIKE)
    for name, column in counted.columns.items():
        placed = np.bincount(place_rows(frame.get_column(name), column.bins), minlength=len(column.counts) + 1)
        assert placed.tolist() == [*column.counts, column.nulls]


def test_values_outside_the_reference_have_bins_of_their_own() -> None:
    like = Profile(3, {"x": profile_column(pl.Series([1.0, 2.0, 3.0]))})
    values = [0.5, 1.0, 3.0, 3.5, math.inf, -math.inf, None]
    column = profile_like(pl.DataFrame({"x": values}), like).columns["x"]
    assert (column.counts[0], column.counts[-1], column.nulls) == (2, 2, 1)
    assert column.counts[1:-1] == [1, 0, 1]
    assert column.sums[-1] == 3.5


def test_an_unseen_category_and_one_that_is_missing() -> None:
    column = profile_like(pl.DataFrame({"y": ["a", "new", None]}), LIKE).columns["y"]
    assert column.categories == ["a", "b", "c"]
    assert (column.counts, column.nulls) == ([1, 0, 0, 1], 1)


def test_a_column_is_read_as_what_it_was() -> None:
    like = Profile(2, {"x": profile_column(pl.Series([0.0, 1.0]))})
    for values in (pl.Series([True, None]), pl.Series(["1", "no number"]), pl.Series([1, None])):
        column = profile_like(pl.DataFrame({"x": values}), like).columns["x"]
        assert (column.counts[1:-1], column.nulls) == ([0, 1], 1)


def test_a_column_that_is_gone_is_missing_in_every_row() -> None:
    part = profile_like(pl.DataFrame({"y": ["a", "b"]}), LIKE)
    assert part.columns["x"].missing == 1.0
    assert merge(part, LIKE).columns["x"].counts == LIKE.columns["x"].counts


@pytest.mark.parametrize("dtype", [pl.Float64, pl.String])
def test_bins_of_an_empty_column_count_what_comes(dtype: type[pl.DataType]) -> None:
    like = Profile(2, {"x": profile_column(pl.Series([None, None], dtype=dtype))})
    values = pl.Series(["1", None]).cast(dtype)
    parts = [profile_like(pl.DataFrame({"x": values}), like) for _ in range(2)]
    assert (merge(*parts).columns["x"].counts, merge(*parts).columns["x"].nulls) == ([2], 2)
    assert place_rows(values, like.columns["x"].bins).tolist() == [0, 1]


def test_a_profile_costs_no_hash_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "unique", None)  # a hundred times slower than a sort
    frame = pl.DataFrame({"x": np.arange(3_000.0), "t": [f"v{i}" for i in range(3_000)]})
    first = profiles.profile_frame(frame)
    assert merge(first, profiles.profile_frame(frame, first)).rows == 6_000
