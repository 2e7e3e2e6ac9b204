"""The spread of moments: parts merge to what counting them together gives, and no moment is lost."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from loopwright.data.profiles import ColumnProfile, Profile, merge, profile_frame
from loopwright.data.profiles.spread import MOST_STRETCHES, count_spread, merge_spreads

MOMENTS = st.lists(st.integers(-(2**61), 2**61) | st.integers(0, 10**7), min_size=1, max_size=30)


@given(st.lists(MOMENTS, min_size=1, max_size=5))
def test_parts_merge_to_the_whole_in_any_grouping(parts: list[list[int]]) -> None:
    spreads = [count_spread(np.array(part, np.int64)) for part in parts]
    whole = count_spread(np.array([one for part in parts for one in part], np.int64))
    known = [one for one in spreads if one is not None]
    assert merge_spreads(known) == whole
    folded = known[0]
    for one in known[1:]:
        merged = merge_spreads([one, folded])
        assert merged is not None
        folded = merged
    assert folded == whole


@given(MOMENTS)
def test_every_moment_lies_in_its_stretch(moments: list[int]) -> None:
    spread = count_spread(np.array(moments, np.int64))
    assert spread is not None
    assert len(spread.counts) <= MOST_STRETCHES
    assert sum(spread.counts) == len(moments)
    assert spread.counts[0]
    assert spread.counts[-1]
    start, width = spread.first << spread.level, 1 << spread.level
    for place, count in enumerate(spread.counts):
        assert count == sum(start + place * width <= one < start + (place + 1) * width for one in moments)


def test_of_no_moment_there_is_none() -> None:
    assert count_spread(np.array([], np.int64)) is None
    assert merge_spreads([]) is None


def test_rows_that_were_profiled_before_leave_the_whole_unknown() -> None:
    new = profile_frame(pl.DataFrame({"at": pl.Series([1, 2, None], dtype=pl.Datetime("us"))}))
    assert new.columns["at"].spread is not None
    old = Profile(2, {"at": ColumnProfile("moment", 2, 0, count=2, low=5, high=6)})
    empty = profile_frame(pl.DataFrame({"at": pl.Series([None], dtype=pl.Datetime("us"))}))
    assert merge(new, old).columns["at"].spread is None
    assert merge(empty, new).columns["at"].spread == new.columns["at"].spread
