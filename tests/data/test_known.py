"""When values became known."""

import pytest

from loopwright.data import DatasetSpec, KnownAt, SourceSpec
from loopwright.data.known import known_moment
from loopwright.kernel.errors import InvalidInput


def known(column: str, time: str | None = "at", **known_at: KnownAt) -> KnownAt:
    return known_moment(DatasetSpec("d", SourceSpec("push"), ["id"], time, known_at), column)


def test_a_value_is_known_by_its_own_entry_then_any_then_event_time() -> None:
    assert known("late", late=KnownAt("landed"), **{"*": KnownAt("at", 5)}) == KnownAt("landed")
    assert known("temp", late=KnownAt("landed"), **{"*": KnownAt("at", 5)}) == KnownAt("at", 5)
    assert known("temp") == KnownAt("at")


def test_without_time_nobody_can_say() -> None:
    with pytest.raises(InvalidInput, match="has no time"):
        known("temp", None)
