"""Who may look at rows, what is masked, and what the trail says of it."""

from typing import Any

import msgspec
import pytest

from loopwright.data import Preview, RowsRead
from loopwright.governance import LOCAL_ACTOR, SYSTEM, Actor, check_permission
from loopwright.kernel.errors import InvalidInput, PermissionDenied
from loopwright.kernel.events import Facts
from loopwright.kernel.verbs import Role, verb_of
from loopwright.loop import OperationContext
from loopwright.loop.previewing import preview
from loopwright.store.types import Bounds
from tests.loop.conftest import PROJECT, Importer, Loop

VIEWER = Actor("person:ana", {"flights": Role.VIEWER})


def look(loop: Loop, noted: list[tuple[Facts, str]], **asked: Any) -> Preview:
    context = OperationContext(
        loop.dispatcher,
        loop.blobs,
        loop.reactor,
        lambda seen, _s: seen + 1,
        "",
        "flights",
        VIEWER,
        note_read=lambda facts, ref: noted.append((facts, ref)),
    )
    return preview(context, dataset="flights", **asked)


def test_rows_are_for_those_who_may_read_the_files() -> None:
    called = verb_of(preview)
    check_permission(called, VIEWER, "flights")
    check_permission(called, Actor("service:loopwright", {"flights": Role.SERVICE}, Bounds("job")), "flights")
    for stranger in (
        Actor("person:bo", {"other": Role.ADMIN}),
        Actor("person:cy", {}),
        Actor("service:gateway", {"*": Role.SERVICE}, Bounds("gateway")),
        Actor("service:worker", {"*": Role.SERVICE}, Bounds("worker")),
    ):
        with pytest.raises(PermissionDenied):
            check_permission(called, stranger, "flights")
    with pytest.raises(PermissionDenied):
        check_permission(called, VIEWER, SYSTEM)


def test_what_is_personal_now_is_masked_in_older_versions_too(loop: Loop, importer: Importer) -> None:
    importer.load()
    shown = look(loop, [])
    carrier = [column.name for column in shown.columns].index("carrier")
    assert shown.masked == []
    known = {row[carrier] for row in shown.values}
    personal = msgspec.structs.replace(PROJECT.datasets[0], personal=["carrier"])
    loop("data.declare", spec=personal)
    masked = look(loop, [], version=1)
    assert masked.masked == ["carrier"]
    assert {row[carrier] for row in masked.values} == {"•••"}
    assert not known & {value for row in masked.values for value in row}
    importer.load("replace")
    loop.dispatcher.call(  # what was personal when the rows came stays masked with them
        "data.declare", {"spec": PROJECT.datasets[0]}, actor=LOCAL_ACTOR, project="flights"
    )
    assert look(loop, [], version=2).masked == ["carrier"]
    assert look(loop, [], version=1).masked == []


def test_who_reads_beyond_the_first_rows_is_told(loop: Loop, importer: Importer) -> None:
    importer.load()
    noted: list[tuple[Facts, str]] = []
    look(loop, noted)
    look(loop, noted, limit=20)
    assert noted == []
    look(loop, noted, offset=20)
    look(loop, noted, limit=100)
    assert noted == [(RowsRead("rows"), "flights/dataset:flights/1")] * 2


def test_failing_rows_take_no_columns(loop: Loop, importer: Importer) -> None:
    importer.load()
    with pytest.raises(InvalidInput, match="first columns"):
        look(loop, [], part="failing", columns=["carrier"])
