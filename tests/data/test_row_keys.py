"""Keys as text: the same of a frame and of JSON, and no two keys alike."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.data.row_keys import join_parts, part_text, row_ids

PARTS = st.lists(st.text(alphabet="a|\\\n", max_size=5), min_size=2, max_size=2)


def test_composite_keys_do_not_run_together() -> None:
    frame = pl.DataFrame({"a": ["x|y", "x", "x\\"], "b": ["z", "y|z", "|z"]})
    assert row_ids(frame, ["a", "b"]).n_unique() == 3
    assert row_ids(frame, ["a"]).to_list() == ["x|y", "x", "x\\"]


@given(PARTS, PARTS)
def test_two_keys_never_have_one_text(left: list[str], right: list[str]) -> None:
    assert (join_parts(left) == join_parts(right)) == (left == right)


@given(PARTS)
def test_a_frame_joins_as_anybody_does(parts: list[str]) -> None:
    frame = pl.DataFrame({"a": [parts[0]], "b": [parts[1]]})
    assert row_ids(frame, ["a", "b"]).to_list() == [join_parts(parts)]


@pytest.mark.parametrize(("value", "dtype"), [(True, pl.Boolean), (7, pl.Int64), (7.0, pl.Int8), ("UA", pl.String)])
def test_a_part_reads_alike_in_json_and_in_a_frame(value: Any, dtype: Any) -> None:
    assert [part_text(value)] == pl.Series([value]).cast(dtype).cast(pl.String).to_list()
