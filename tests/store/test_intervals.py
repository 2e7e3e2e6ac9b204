"""Intervals are found by what they share and how long they are, and none is missed."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loopwright.store.intervals import SPAN_CLASSES, join_ranges, longest_span, prefixes_of, shared_prefix, span_class

ids = st.text("0123ABCD", min_size=1, max_size=40)
times = st.integers(-(1 << 60), 1 << 60)


@given(ids, ids, ids)
def test_whatever_lies_between_two_ids_begins_with_their_prefix(first: str, last: str, asked: str) -> None:
    first, last = sorted((first, last))
    if first <= asked <= last:
        assert shared_prefix(first, last) in prefixes_of(asked)


@given(times, times)
def test_an_interval_is_no_longer_than_its_class(begin: int, end: int) -> None:
    begin, end = sorted((begin, end))
    of_class = span_class(begin, end)
    assert 0 <= of_class < SPAN_CLASSES
    assert end - begin <= longest_span(of_class)


@given(st.lists(st.tuples(ids, ids).map(lambda pair: (min(pair), max(pair)))), st.integers(1, 4))
def test_few_ranges_hold_what_many_hold(ranges: list[tuple[str, str]], most: int) -> None:
    joined = join_ranges(ranges, most)
    assert len(joined) <= most
    assert all(any(low <= first and last <= high for low, high in joined) for first, last in ranges)
    assert {edge for each in joined for edge in each} <= {edge for each in ranges for edge in each}
    assert all(before[1] < after[0] for before, after in pairwise(joined))


def test_the_widest_gap_stays_open() -> None:
    near = [(f"pred_01A{n}", f"pred_01A{n}Z") for n in range(9)]
    far = ("pred_01X0", "pred_01X1")
    assert join_ranges([far, *near], 2) == [(near[0][0], near[-1][1]), far]
