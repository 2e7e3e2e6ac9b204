"""Row hashes: stable for ever, blind to order, sharp on content."""

import math

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.data.fingerprints import row_hashes, sum_rows
from loopwright.data.row_sums import add_row_sums

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.one_of(st.none(), st.text(max_size=2)), st.floats()), max_size=20)
SCHEMA = {"a": pl.Int64, "t": pl.String, "x": pl.Float64}


def summed(rows: list[tuple[object, ...]]) -> str:
    return sum_rows(row_hashes(pl.DataFrame(rows, schema=SCHEMA, orient="row")))


def test_hashes_are_the_same_for_ever() -> None:
    assert summed([(1, "a", 0.5), (2, None, math.nan)]) == "56b885162480e8c2d3f7eb183d963a21"


@settings(max_examples=100)
@given(ROWS, ROWS)
def test_sums_of_parts_add_up_in_any_order(left: list[tuple[object, ...]], right: list[tuple[object, ...]]) -> None:
    whole = summed([*right, *left][::-1])
    assert add_row_sums(summed(left), summed(right)) == whole


def test_values_that_are_equal_hash_alike_and_others_do_not() -> None:
    assert summed([(1, "a", 0.0)]) == summed([(1, "a", -0.0)])
    assert summed([(1, "a", math.nan)]) == summed([(1, "a", -math.nan)])
    different = [(1, "a", 0.0), (1, "b", 0.0), (2, "a", 0.0), (1, None, 0.0), (1, "", 0.0), (1, "a", math.inf)]
    assert len({summed([row]) for row in different}) == len(different)
    assert summed([(1, "a", 0.0)] * 2) != summed([(1, "a", 0.0)])


def test_columns_are_told_apart_and_an_empty_one_leaves_no_trace() -> None:
    frame = pl.DataFrame({"a": [1], "b": [2]})
    assert sum_rows(row_hashes(frame)) != sum_rows(row_hashes(frame.rename({"a": "b", "b": "a"})))
    assert sum_rows(row_hashes(frame)) == sum_rows(row_hashes(frame.select("b", "a", n=pl.lit(None))))
    assert sum_rows(row_hashes(frame)) == sum_rows(row_hashes(frame.cast(pl.Int8)))
    nested = pl.DataFrame({"l": [[1, 2], [3]], "b": [b"x", b"y"]})
    assert len(set(row_hashes(nested).tolist())) == 2
