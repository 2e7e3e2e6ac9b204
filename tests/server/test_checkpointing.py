"""Every server signs the log: at its start, while it runs, and at its end."""

import logging
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from loopwright.config import load_settings
from loopwright.governance import LOCAL_ACTOR, SYSTEM, Checkpoints, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import StorageFull
from loopwright.loop import verifying
from loopwright.server.checkpointing import Checkpointing
from loopwright.wire.checkpoints import open_checkpoints


@pytest.fixture
def place(tmp_path: Path) -> Checkpoints:
    settings = load_settings(tmp_path / "state")
    settings = msgspec.structs.replace(settings, service_token="lws_" + "x" * 32, checkpoints_url=str(tmp_path / "far"))
    return open_checkpoints(settings)


def add(dispatcher: Dispatcher, number: int) -> None:
    for _ in range(number):
        args = {"actor": "person:ana", "role": "viewer"}
        dispatcher.call("tokens.create", args, actor=LOCAL_ACTOR, project="flights")
    dispatcher.database.seal()  # else what is signed first may be a part of them


def run_once(signing: Checkpointing) -> None:
    signing.start()
    signing.stop()


def test_the_log_is_under_a_checkpoint_when_a_server_has_ended(dispatcher: Dispatcher, place: Checkpoints) -> None:
    signing = Checkpointing(dispatcher, place)
    dispatcher.database.seal()
    assert signing.keep_pace()
    add(dispatcher, 3)
    run_once(signing)
    newest = place.newest()
    assert newest is not None
    assert newest.position == 4
    assert verifying.verify_database(dispatcher.database, place).problems == []


def test_a_log_that_nobody_signed_begins_to_be_on_record(
    dispatcher: Dispatcher, place: Checkpoints, wall: FixedClock
) -> None:
    add(dispatcher, 60)
    wall.at_us += 3_600_000_000
    add(dispatcher, 60)
    assert "no checkpoint at all" in verifying.verify_database(dispatcher.database, place).problems[0]
    run_once(Checkpointing(dispatcher, place))
    assert verifying.verify_database(dispatcher.database, place).problems == []
    (event,) = dispatcher.call(
        "audit.list", {"type_prefix": "audit.checkpoints_begun"}, actor=LOCAL_ACTOR, project=SYSTEM
    )
    assert event.payload["position"] == 121


def test_a_log_that_was_cut_is_told_when_a_server_starts(
    dispatcher: Dispatcher, place: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    add(dispatcher, 5)
    run_once(Checkpointing(dispatcher, place))
    with dispatcher.database.engine.connect() as connection:
        connection.execute(text("DELETE FROM events WHERE position > 3"))
        connection.commit()
    with caplog.at_level(logging.ERROR):
        run_once(Checkpointing(dispatcher, place))
    assert "does not hold its newest checkpoint, position 6" in caplog.text
    assert len(place.names()) == 1
    assert verifying.put_log_back(dispatcher, place, "on purpose") == 1
    assert verifying.verify_database(dispatcher.database, place).problems == []


def test_a_place_that_cannot_be_written_stops_nobody(
    dispatcher: Dispatcher, place: Checkpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "far").write_text("")
    with caplog.at_level(logging.ERROR):
        run_once(Checkpointing(dispatcher, place))
    assert "could not be signed" in caplog.text
    (tmp_path / "far").unlink()
    run_once(Checkpointing(dispatcher, place))
    assert len(place.names()) == 1


def test_a_place_that_cannot_be_written_needs_a_person(
    dispatcher: Dispatcher, place: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[str]:
        found = dispatcher.call("loop.attention", {}, actor=LOCAL_ACTOR, project="flights")
        return [need.sentence for need in found.needs]

    def fail(*_: object) -> None:
        raise StorageFull("no room for a checkpoint")

    signing = Checkpointing(dispatcher, place)
    with monkeypatch.context() as full:
        full.setattr(signing, "keep_pace", fail)
        signing._suffering(signing._begin)
    assert told() == ["signing the event log fails: no room for a checkpoint"]
    signing._suffering(signing.keep_pace)
    assert told() == []
