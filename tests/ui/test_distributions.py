"""Small pictures of columns: no value is lost, none is made up, no text is markup."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.data import ColumnSchema
from loopwright.data.profiles import ColumnProfile, merge, profile_frame
from loopwright.ui.kit import distributions
from loopwright.ui.pages.data.looks import cell, look_at, pair
from tests.ui.seed_ground import NASTY

NUMBERS = st.lists(st.floats(-1e12, 1e12) | st.integers(-5, 5).map(float), min_size=1, max_size=200)


def profiled(values: list[float | None]) -> ColumnProfile:
    return profile_frame(pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})).columns["x"]


@given(NUMBERS, NUMBERS)
def test_bars_add_up_to_all_values_also_of_later_rows_in_the_bins_of_the_first(
    first: list[float], later: list[float]
) -> None:
    before = profile_frame(pl.DataFrame({"x": first}))
    whole = merge(before, profile_frame(pl.DataFrame({"x": later}), before)).columns["x"]
    assert whole.low is not None
    assert whole.high is not None
    bars = distributions.bars(whole, whole.low, whole.high)
    assert all(count >= 0 for count in bars)
    assert sum(bars) == pytest.approx(len(first) + len(later), abs=1e-3)


def test_values_that_come_again_stand_where_they_are() -> None:
    column = profiled([0.0] * 6 + [10.0] * 3 + [5.0])
    assert distributions.bars(column, 0.0, 10.0, 10) == [6, 0, 0, 0, 0, 1, 0, 0, 0, 3]


def test_infinities_and_missing_values_have_no_bar() -> None:
    column = profiled([1.0, 2.0, math.inf, math.nan, None])
    assert sum(distributions.bars(column, 1.0, 2.0)) == 2
    assert distributions.bars(profiled([None]), 0.0, 1.0) == []


def test_one_value_alone_is_one_bar() -> None:
    assert [count for count in distributions.bars(profiled([3.0] * 4), 3.0, 3.0) if count] == [4]


def test_whole_numbers_next_to_each_other_have_a_bar_each() -> None:
    frame = pl.DataFrame({"n": list(range(30)), "x": [float(n) for n in range(30)]})
    looks = look_at([ColumnSchema("n", "Int64")], profile_frame(frame), (), {"n"})
    assert looks["n"].bars == [1.0] * 30
    many = pl.DataFrame({"n": list(range(480))})
    assert set(look_at([ColumnSchema("n", "Int64")], profile_frame(many), (), {"n"})["n"].bars) == {20.0}


def test_moments_are_drawn_from_first_to_last() -> None:
    frame = pl.DataFrame({"at": pl.Series(range(0, 86_400_000_000, 600_000_000), dtype=pl.Datetime("us"))})
    look = look_at([ColumnSchema("at", "Datetime(us)")], profile_frame(frame), (), {"at"})["at"]
    assert (look.low, look.high) == ("1970-01-01 00:00", "1970-01-01 23:50")
    assert sum(look.bars) == pytest.approx(144)
    assert min(look.bars) > 0


def test_of_a_personal_column_nothing_is_told_but_what_is_missing() -> None:
    frame = pl.DataFrame({"age": [61, None, 63], "mail": ["a@b.c", "a@b.c", None]})
    schema = [ColumnSchema("age", "Int64"), ColumnSchema("mail", "String")]
    profile = profile_frame(frame)
    for look in look_at(schema, profile, ["age", "mail"], ["age", "mail"]).values():
        assert (look.missing, look.rows, look.bars, look.top) == (1, 3, [], [])
        assert {look.low, look.high, look.mean} == {"–"}
        both = pair(look.name, 1, (look, look), (profile.columns[look.name],) * 2)
        assert (both.bars_before, both.values, both.range_low) == ([], [], "–")


def test_two_versions_are_drawn_in_the_same_parts() -> None:
    old, new = profiled([0.0, 1.0]), profiled([1.0, 4.0])
    looks = tuple(look_at([ColumnSchema("x", "Float64")], None, ())["x"] for _ in (0, 1))
    both = pair("x", 1, (looks[0], looks[1]), (old, new))
    assert (both.range_low, both.range_high) == ("0", "4")
    assert len(both.bars_before) == len(both.bars_after)
    assert (both.bars_before[0], both.bars_after[-1]) == (1, 1)


def test_shares_of_values_tell_what_was_not_counted_as_others() -> None:
    first = profile_frame(pl.DataFrame({"c": ["a", "a", "b"]}))
    later = profile_frame(pl.DataFrame({"c": ["a", "z", "z"]}), first)
    look = look_at([ColumnSchema("c", "String")], None, ())["c"]
    both = pair("c", None, (look, look), (first.columns["c"], later.columns["c"]))
    assert both.values[-1] == (None, 0.0, pytest.approx(2 / 3))
    assert {value: (was, now) for value, was, now in both.values}["b"] == (pytest.approx(1 / 3), None)


def test_text_from_outside_is_escaped_in_every_picture() -> None:
    drawn = [
        distributions.histogram([1.0, 2.0], NASTY),
        distributions.overlaid([1.0], [2.0], NASTY),
        distributions.shares_bar([(NASTY, 1.0)], NASTY),
        distributions.shares_pair(0.1, None, 0.1, NASTY),
    ]
    assert not [one for one in drawn if "<script" in one or "<img" in one]
    assert distributions.overlaid([], [], "x") == distributions.histogram([0.0], "x") == ""


@pytest.mark.parametrize(
    ("value", "dtype", "text", "is_right"),
    [
        (None, "Int64", "–", True),
        (10**18 + 1, "Int64", "1000000000000000001", True),
        (0.1 + 0.2, "Float64", "0.3", True),
        ("nan", "Float64", "nan", True),
        (True, "Boolean", "true", False),
        ("x" * 61, "String", "x" * 60 + "…", False),
        ("2013-03-01T05:00:00Z", "String", "2013-03-01T05:00:00Z", False),
    ],
)
def test_a_cell_says_what_it_holds(value: object, dtype: str, text: str, is_right: bool) -> None:
    shown = cell(value, dtype)
    assert (shown.text, shown.is_right) == (text, is_right)
    assert str(value) in (shown.whole, shown.text) or value is None or value is True
