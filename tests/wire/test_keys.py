"""Keys that name their moment, and every other."""

import pytest

from loopwright.wire.keys import moment_of, new_key

AT_US = 1_772_366_400_000_000


def test_a_key_names_its_moment_and_is_no_other() -> None:
    keys = {new_key(AT_US) for _ in range(100)}
    assert len(keys) == 100
    assert {moment_of(key) for key in keys} == {AT_US}


@pytest.mark.parametrize(
    "key", ["", "key_", "order-17", "run_01JQ0000000000000000000000", "key_01JQ00000000000000000000I0"]
)
def test_another_key_names_none(key: str) -> None:
    assert moment_of(key) is None
