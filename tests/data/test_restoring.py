"""Restoring: an older version is the newest again, by whom, and what the rules take from it."""

from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.client.declarations import check
from loopwright.data import ImportResult
from loopwright.data.types import CheckSpec
from loopwright.governance import Actor, Dispatcher
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied, Quarantined
from loopwright.kernel.verbs import Role
from tests.data.conftest import rows_of, weather, weather_spec
from tests.inprocess import InProcessWorker

Import = Callable[..., ImportResult]
Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _declared(call: Call) -> None:
    call("data.declare", spec=weather_spec())


@pytest.fixture
def as_editor(dispatcher: Dispatcher) -> Call:
    """Restore a version of the weather as an editor."""

    def restore(version: int) -> Any:
        args = {"dataset": "weather", "version": version, "reason": "it was better"}
        return dispatcher.call(
            "data.restore", args, actor=Actor("person:ed", {"flights": Role.EDITOR}), project="flights"
        )

    return restore


def test_older_rows_are_the_newest_again(call: Call, import_rows: Import, worker: InProcessWorker) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(1)[:6].with_columns(temp=pl.lit(20.0)), "upsert")
    good = call("data.get_version", dataset="weather")
    import_rows("weather", weather(2))
    import_rows("weather", weather(1)[:3], "delete")
    restored = call("data.restore", dataset="weather", version=2, reason="the second day was a hoax")
    assert (restored.version, restored.parent, restored.digest) == (5, 4, good.digest)
    assert rows_of(call("data.get_version", dataset="weather"), worker.blobs).equals(rows_of(good, worker.blobs))
    told = call("audit.list", type_prefix="data.version_ready")[0]
    assert told.reason == "version 2 again: the second day was a hoax"
    # What comes next stands on it, corrections of corrected rows among them, and the versions between are as they were.
    import_rows("weather", weather(1)[:6].with_columns(temp=pl.lit(21.0)), "upsert")
    import_rows("weather", weather(3))
    newest = rows_of(call("data.get_version", dataset="weather"), worker.blobs)
    wanted = pl.concat([weather(1)[:6].with_columns(temp=pl.lit(21.0)), weather(1)[6:], weather(3)])
    order = ["observed_at", "origin"]
    assert newest.sort(order).equals(wanted.sort(order))
    between = rows_of(call("data.get_version", dataset="weather", version=4), worker.blobs)
    assert between.height == 45
    for args, error in (
        ({"version": 2, "reason": " "}, InvalidInput),
        ({"version": 9, "reason": "gone"}, NotFound),
        ({"version": 7, "reason": "it is there"}, Conflict),
    ):
        with pytest.raises(error):
            call("data.restore", dataset="weather", **args)
    # The old ones may go: what stands on their rows names them itself.
    for version in (4, 3, 2):
        call("deletion.delete", ref=f"dataset:weather/{version}", reason="a hoax")
    newest = rows_of(call("data.get_version", dataset="weather"), worker.blobs)
    assert newest.sort(order).equals(wanted.sort(order))


def test_rows_that_were_held_to_looser_checks_come_back_by_an_approver(
    call: Call, import_rows: Import, dispatcher: Dispatcher
) -> None:
    import_rows("weather", weather(1, temp=80.0))
    call("data.release_quarantine", dataset="weather", version=1, reason="hot")
    import_rows("weather", weather(2))
    import_rows("weather", weather(3), "replace")
    stricter = CheckSpec("between", "temp", {"low": -60, "high": 50})
    call("data.declare", spec=msgspec.structs.replace(weather_spec(), checks=[stricter]))
    args = {"dataset": "weather", "version": 2, "reason": "the third was worse"}
    editor = Actor("person:ed", {"flights": Role.EDITOR})
    with pytest.raises(PermissionDenied, match="not held to today's rules"):
        dispatcher.call("data.restore", args, actor=editor, project="flights")
    assert call("data.restore", **args).version == 4
    released = call("data.released_versions", dataset="weather", version=4)
    assert [one.version for one in released] == [4]


def test_rows_below_that_were_held_to_looser_checks_come_back_by_an_approver_too(
    call: Call, import_rows: Import, dispatcher: Dispatcher
) -> None:
    call("data.declare", spec=weather_spec(name="loose", checks=[]))
    import_rows("loose", weather(1, temp=80.0))
    call("data.declare", spec=weather_spec(name="loose"))
    import_rows("loose", weather(2))
    import_rows("loose", weather(3), "replace")
    args = {"dataset": "loose", "version": 2, "reason": "they were fine"}
    editor = Actor("person:ed", {"flights": Role.EDITOR})
    with pytest.raises(PermissionDenied, match="not held to today's rules"):
        dispatcher.call("data.restore", args, actor=editor, project="flights")
    assert call("data.restore", **args).version == 4


def test_what_is_quarantined_is_not_restored(call: Call, import_rows: Import) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2, temp=80.0))
    with pytest.raises(Quarantined):
        call("data.restore", dataset="weather", version=2, reason="why not")


def test_restored_versions_say_nothing_of_what_is_usual(call: Call, import_rows: Import, as_editor: Call) -> None:
    """Else whoever restores two versions in turn chooses what is usual."""
    call("data.declare", spec=weather_spec(checks=[check.usual_rows()]))
    for number in range(9):
        import_rows("weather", weather(1, hours=23 + number % 2, temp=float(number)), "replace")
    few = weather(2, hours=1)
    assert import_rows("weather", few, "replace").state == "quarantined"
    for day in (3, 4):
        import_rows("weather", weather(day, hours=1))
    for version in (11, 12) * 28:
        as_editor(version)
    assert import_rows("weather", few, "replace").state == "quarantined"
    assert import_rows("weather", weather(2, hours=23), "replace").state == "ready"


def test_imports_of_another_kind_do_not_push_out_what_is_usual(call: Call, import_rows: Import) -> None:
    call("data.declare", spec=weather_spec(checks=[check.usual_rows()]))
    for number in range(9):
        import_rows("weather", weather(1, hours=23 + number % 2, temp=float(number)), "replace")
    for day in range(60):
        import_rows("weather", weather(2).with_columns(pl.col("observed_at").dt.offset_by(f"{day}d")).head(2))
    assert import_rows("weather", weather(1, hours=1), "replace").state == "quarantined"


def test_rows_that_a_person_released_come_back_by_an_approver(call: Call, import_rows: Import, as_editor: Call) -> None:
    import_rows("weather", weather(1), "replace")
    import_rows("weather", weather(1, temp=80.0), "replace")
    call("data.release_quarantine", dataset="weather", version=2, reason="it was hot")
    import_rows("weather", weather(1, temp=11.0), "replace")
    with pytest.raises(PermissionDenied, match=r"failed a check: between\(temp, high=60, low=-60\)"):
        as_editor(2)
    assert as_editor(1).version == 4
    assert call("data.restore", dataset="weather", version=2, reason="it was hot").version == 5
    import_rows("weather", weather(1), "replace")
    with pytest.raises(PermissionDenied, match="failed a check"):
        as_editor(5)


def test_rows_of_other_columns_come_back_by_an_approver(call: Call, import_rows: Import, as_editor: Call) -> None:
    import_rows("weather", weather(1), "replace")
    import_rows("weather", weather(1).with_columns(rain=pl.lit(1.0)), "replace")
    with pytest.raises(PermissionDenied, match=r"other columns than version 2 \(without rain\)"):
        as_editor(1)
    call("data.restore", dataset="weather", version=1, reason="the gauge is broken")
    import_rows("weather", weather(2), "replace")
    assert as_editor(3).version == 5


def test_what_an_approver_moved_off_comes_back_by_an_approver(call: Call, import_rows: Import, as_editor: Call) -> None:
    for day in (1, 2, 3):
        import_rows("weather", weather(day))
    as_editor(1)
    as_editor(3)
    call("data.restore", dataset="weather", version=4, reason="both days were a hoax")
    for version in (5, 3):  # the same rows by another number are the same rows
        with pytest.raises(PermissionDenied, match="version 6 left them"):
            as_editor(version)
    import_rows("weather", weather(4))
    assert as_editor(1).version == 8
    assert call("data.restore", dataset="weather", version=3, reason="they were none").version == 9
    import_rows("weather", weather(5))
    assert as_editor(3).version == 11, "the last word of an approver counts"
    with pytest.raises(PermissionDenied, match="version 9 left them"):
        as_editor(8)


def test_what_an_editor_moved_off_comes_back_by_an_editor(import_rows: Import, as_editor: Call) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2))
    assert as_editor(1).restored_from == 1
    assert as_editor(2).restored_from == 2


def test_the_event_says_what_was_restored(call: Call, import_rows: Import) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2))
    call("data.restore", dataset="weather", version=1, reason="a hoax")
    newest, before = call("audit.list", type_prefix="data.version_ready")[:2]
    assert newest.payload["restored_from"] == 1
    assert "restored_from" not in before.payload
