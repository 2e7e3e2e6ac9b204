"""Who made a version and what it did to the rows, whatever the operation was."""

from collections.abc import Callable
from typing import Any

import polars as pl

from loopwright.data import ImportResult, VersionOrigin
from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.verbs import Role
from tests.data.conftest import put_frame, weather, weather_spec
from tests.inprocess import InProcessWorker

Call = Callable[..., Any]
Import = Callable[..., ImportResult]


def test_each_operation_tells_what_it_did_to_the_rows(call: Call, import_rows: Import) -> None:
    call("data.declare", spec=weather_spec())
    import_rows("weather", weather(1))
    import_rows("weather", weather(2))
    import_rows("weather", weather(1).head(4).select("origin", "observed_at"), "delete")
    import_rows("weather", pl.concat([weather(2).head(3).with_columns(temp=pl.lit(1.5)), weather(3)]), "upsert")
    import_rows("weather", weather(4), "replace")
    import_rows("weather", weather(5, temp=100.0))
    call("data.restore", dataset="weather", version=2, reason="the days before")
    found = call("data.origins", dataset="weather")
    moved = [(one.version, one.added, one.changed, one.removed) for one in found]
    assert moved == [
        (7, None, None, None),
        (6, 24, 0, 0),
        (5, None, None, None),
        (4, 24, 3, 0),
        (3, 0, 0, 4),
        (2, 24, 0, 0),
        (1, 24, 0, 0),
    ]
    assert call("data.origins", dataset="weather", limit=2, before=5) == found[3:5], "the parent need not be listed"


def test_who_asked_for_a_version_and_who_let_it_pass(
    call: Call, dispatcher: Dispatcher, worker: InProcessWorker
) -> None:
    call("data.declare", spec=weather_spec())

    def act(name: str, role: Role, verb: str, **args: Any) -> None:
        actor = Actor(f"person:{name}", {"flights": role})
        dispatcher.call(verb, {"dataset": "weather", **args}, actor=actor, project="flights")
        worker.run_all()

    bad, good = (put_frame(worker.blobs, weather(1, temp=temp)) for temp in (100.0, 1.0))
    dispatcher.write("flights", SERVICE_ACTOR, lambda tx: tx.keep_blobs(bad, good))
    act("ana", Role.EDITOR, "data.start_import", blobs=[bad])
    act("cy", Role.APPROVER, "data.release_quarantine", version=1, reason="a hot day")
    act("bo", Role.EDITOR, "data.start_import", blobs=[good], operation="replace")
    act("cy", Role.APPROVER, "data.restore", version=1, reason="it was right")
    newest_first = call("data.origins", dataset="weather")
    assert [one.by for one in newest_first] == ["person:cy", "person:bo", "person:ana"]
    first: VersionOrigin = newest_first[-1]
    assert (first.released_by, first.released_reason) == ("person:cy", "a hot day")
    assert [one.by for one in call("data.origins", dataset="weather", before=3)] == ["person:bo", "person:ana"]
