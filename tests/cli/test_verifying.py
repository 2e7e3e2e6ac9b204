"""``verify`` recomputes every promise and names what is wrong."""

from pathlib import Path

import pytest
from sqlalchemy import text

from loopwright.cli.verifying import verify_state
from loopwright.config import Settings, load_settings
from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.server.process import open_database
from loopwright.store.blobs import open_blob_store


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("LOOPWRIGHT_DATABASE", "LOOPWRIGHT_BLOBS"):
        monkeypatch.delenv(name, raising=False)
    return load_settings(tmp_path / "state")


@pytest.fixture
def digest(settings: Settings) -> str:
    """A state folder with a project and one blob."""
    database = open_database(settings)
    dispatcher = Dispatcher(database)
    dispatcher.call("projects.create", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM)
    ref = open_blob_store(settings.blobs_url).put(b"hello" * 100)
    dispatcher.write("flights", LOCAL_ACTOR, lambda tx: tx.keep_blobs(ref))
    database.close()
    return ref.digest


def test_a_sound_state_holds(settings: Settings, digest: str) -> None:
    report = verify_state(settings)
    assert (report.events, report.blobs, report.problems) == (1, 1, [])


def test_a_flipped_byte_is_found_and_named(settings: Settings, digest: str) -> None:
    place = open_blob_store(settings.blobs_url).path(digest)
    body = bytearray(place.read_bytes())
    body[250] ^= 1
    place.write_bytes(body)
    (problem,) = verify_state(settings).problems
    assert digest[:12] in problem
    assert "changed" in problem


def test_a_missing_blob_and_a_changed_event_are_found(settings: Settings, digest: str) -> None:
    open_blob_store(settings.blobs_url).delete(digest)
    database = open_database(settings)
    with database.engine.connect() as connection:
        connection.execute(text("UPDATE events SET actor = 'person:eve'"))
        connection.commit()
    database.close()
    problems = verify_state(settings).problems
    assert len(problems) == 2
    assert any("changed after it was written" in problem for problem in problems)
