"""Lists that are too long, and what is told of many."""

import pytest

from loopwright.kernel.bounds import check_count, first_few, first_repeated
from loopwright.kernel.errors import InvalidInput


def test_a_list_may_be_as_long_as_is_said() -> None:
    check_count([1, 2], "checks", 2)
    with pytest.raises(InvalidInput, match="these are too many; field: checks; value: 3; rule: at most 2"):
        check_count([1, 2, 3], "checks", 2)


def test_the_first_name_that_comes_again_is_found() -> None:
    assert first_repeated(["a", "b", "c", "c", "b"]) == "b"
    assert first_repeated(["a", "b"]) is None


def test_of_many_sentences_the_first_are_told_each_shortened() -> None:
    told = first_few([f"{number} {'x' * 1000}" for number in range(200)])
    assert told.endswith("; and 180 more")
    assert len(told) < 20 * 303
    assert first_few(["a", "b"]) == "a; b"
