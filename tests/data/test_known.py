"""When values became known."""

from datetime import UTC, datetime

import polars as pl
import pytest

from loopwright.data import DatasetSpec, KnownAt, SourceSpec
from loopwright.data.known import known_at_us
from loopwright.kernel.errors import InvalidInput

FRAME = pl.DataFrame({"at": [datetime(1970, 1, 1, tzinfo=UTC)] * 2, "landed": [datetime(1970, 1, 2, tzinfo=UTC), None]})


def known(column: str, time: str | None = "at", **known_at: KnownAt) -> list[int | None]:
    spec = DatasetSpec("d", SourceSpec("push"), ["id"], time, known_at)
    return FRAME.select(known_at_us(spec, column)).to_series().to_list()


def test_a_value_is_known_by_its_own_entry_then_any_then_event_time() -> None:
    assert known("late", late=KnownAt("landed"), **{"*": KnownAt("at", 5)}) == [86_400_000_000, None]
    assert known("temp", late=KnownAt("landed"), **{"*": KnownAt("at", 5)}) == [5, 5]
    assert known("temp") == [0, 0]


def test_without_time_nobody_can_say() -> None:
    with pytest.raises(InvalidInput, match="has no time"):
        known("temp", None)
