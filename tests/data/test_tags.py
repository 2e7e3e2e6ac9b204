"""Tags of versions: names that may be moved, and that keep what they name."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.data import CheckSpec, ImportResult
from loopwright.kernel.errors import InvalidInput, NotFound, Quarantined
from tests.data.conftest import weather, weather_spec

Call = Callable[..., Any]


@pytest.fixture
def versions(call: Call, import_rows: Callable[..., ImportResult]) -> None:
    call("data.declare", spec=weather_spec())
    import_rows("weather", weather(1))
    import_rows("weather", weather(2), "replace")


@pytest.mark.usefixtures("versions")
def test_a_tag_names_a_version_and_may_be_moved(call: Call) -> None:
    call("data.tag", dataset="weather", version=1, tag="gold", reason="the audit of May")
    call("data.tag", dataset="weather", version=1, tag="gold")
    assert call("data.get_tagged", dataset="weather", tag="gold").version == 1
    call("data.tag", dataset="weather", version=2, tag="gold")
    call("data.tag", dataset="weather", version=1, tag="first")
    assert [(each.tag, each.version) for each in call("data.tags", dataset="weather")] == [("first", 1), ("gold", 2)]
    told = [event.payload for event in call("audit.list", type_prefix="data.tag")]
    assert [(each["tag"], each["version"], each["before"]) for each in reversed(told)] == [
        ("gold", 1, None),
        ("gold", 2, 1),
        ("first", 1, None),
    ]


@pytest.mark.usefixtures("versions")
def test_a_tag_is_taken_away(call: Call) -> None:
    call("data.tag", dataset="weather", version=1, tag="gold")
    call("data.untag", dataset="weather", tag="gold", reason="no longer")
    assert call("data.tags", dataset="weather") == []
    with pytest.raises(NotFound, match="has no tag gold"):
        call("data.untag", dataset="weather", tag="gold")


@pytest.mark.usefixtures("versions")
def test_a_tag_that_is_not_there_is_told_with_those_that_are(call: Call) -> None:
    call("data.tag", dataset="weather", version=1, tag="gold")
    with pytest.raises(NotFound, match="no tag golden") as told:
        call("data.get_tagged", dataset="weather", tag="golden")
    assert "gold" in str(told.value.next_step)
    with pytest.raises(InvalidInput):
        call("data.tag", dataset="weather", version=1, tag="a/b")
    with pytest.raises(NotFound, match="no version 7"):
        call("data.tag", dataset="weather", version=7, tag="gold")


def test_what_nobody_may_use_gets_no_tag(call: Call, import_rows: Callable[..., ImportResult]) -> None:
    call("data.declare", spec=weather_spec(checks=[CheckSpec("row_count", None, {"low": 10**6})]))
    assert import_rows("weather", weather(1)).state == "quarantined"
    with pytest.raises(Quarantined):
        call("data.tag", dataset="weather", version=1, tag="gold")
