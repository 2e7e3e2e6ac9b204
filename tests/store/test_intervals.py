"""Intervals are found by what they share and how long they are, and none is missed."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.store.intervals import SPAN_CLASSES, longest_span, prefixes_of, shared_prefix, span_class

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
