"""Ids sort by time, never repeat, and tell when they were made."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.ids import ALPHABET, encode_ulid, least_id, new_id, new_ids, new_ulids, parse_id

MOMENTS = st.integers(0, (1 << 48) - 1).map(lambda at_ms: at_ms * 1000)


@given(st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 128) - 1))
def test_ulids_sort_as_their_numbers(first: int, second: int) -> None:
    one, two = encode_ulid(first), encode_ulid(second)
    assert len(one) == 26
    assert set(one) <= set(ALPHABET)
    assert (one < two) == (first < second)


@given(st.integers(0, 3000))
def test_a_batch_grows_strictly(count: int) -> None:
    made = new_ulids(count, 1_700_000_000_000_000)
    assert len(made) == count
    assert all(before < after for before, after in pairwise(made))


def test_ids_grow_even_where_the_clock_goes_back() -> None:
    at_us = 4_000_000_000_000_000
    assert new_id("run", at_us) < new_id("run", at_us - 60_000_000)


def test_ids_of_many_threads_are_all_different() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [one for batch in pool.map(lambda _: new_ids("run", 500, 1_000_000), range(20)) for one in batch]
    assert len(set(made)) == len(made) == 10_000


def test_an_id_tells_prefix_and_time() -> None:
    at_us = 9_000_000_000_000_000
    assert parse_id(new_id("roll", at_us)) == ("roll", at_us)
    assert parse_id("run_00000000000000000000000000") == ("run", 0)


@pytest.mark.parametrize(
    "text", ["", "run", "run_", "run_0123", "run_" + "Z" * 26, "run_" + "0" * 26 + "\n", "run_" + "U" * 26, "../x"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not an id"):
        parse_id(text)


def test_another_prefix_is_refused() -> None:
    with pytest.raises(InvalidInput, match="run_"):
        parse_id(new_id("roll", 0), "run")


def test_the_least_id_of_a_moment_is_above_all_before_and_below_all_since() -> None:
    at_us, least_rest, most_rest = 1_700_000_000_000_000, 0, (1 << 80) - 1
    before = f"push_{encode_ulid((at_us // 1000 - 1) << 80 | most_rest)}"
    since = f"push_{encode_ulid(at_us // 1000 << 80 | least_rest)}"
    assert before < least_id("push", at_us) <= since
