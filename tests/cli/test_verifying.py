"""``verify`` recomputes every promise and names what is wrong."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from loopwright.cli.main import cli
from loopwright.cli.verifying import put_log_back, verify_state
from loopwright.config import Settings, load_settings
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.errors import NotFound
from loopwright.server.checkpointing import Checkpointing
from loopwright.server.process import open_database
from loopwright.store.blobs import open_blob_store
from loopwright.wire.checkpoints import open_checkpoints


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


def test_a_changed_row_is_found_by_a_process_that_does_nothing_else(settings: Settings, digest: str) -> None:
    """Here every room is imported already; the command has to do that itself."""
    with contextlib.closing(sqlite3.connect(settings.state_dir / "loopwright.db")) as connection, connection:
        connection.execute("UPDATE projects SET owner = 'thief'")
    command = [sys.executable, "-m", "loopwright", "verify"]
    environment = {**os.environ, "LOOPWRIGHT_STATE": str(settings.state_dir)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert told.returncode == 1, told.stdout
    assert "owner is 'thief'" in told.stdout + told.stderr


def test_a_flipped_byte_is_found_and_named(settings: Settings, digest: str) -> None:
    place = open_blob_store(settings.blobs_url).path(digest)
    body = bytearray(place.read_bytes())
    body[250] ^= 1
    place.write_bytes(body)
    (problem,) = verify_state(settings).problems
    assert digest[:12] in problem
    assert "changed" in problem


def test_a_damaged_page_of_the_database_is_named_with_what_to_do(settings: Settings, digest: str) -> None:
    file = settings.state_dir / "loopwright.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    body = bytearray(file.read_bytes())
    body[(root - 1) * size : (root - 1) * size + 16] = b"\xff" * 16
    file.write_bytes(body)
    problems = "; ".join(verify_state(settings).problems)
    assert "the database file is damaged" in problems
    assert "restore the newest backup" in problems


@pytest.mark.parametrize("name", ["verify", "backup"])
def test_where_no_platform_was_started_that_is_told_and_nothing_is_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(settings.state_dir))
    answer = CliRunner().invoke(cli, [name, *([str(settings.state_dir.parent / "copies")] if name == "backup" else [])])
    assert isinstance(answer.exception, NotFound)
    assert answer.exception.field == "LOOPWRIGHT_STATE"
    assert str(settings.state_dir) in str(answer.exception.value)
    assert not settings.state_dir.exists()


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


@pytest.mark.parametrize("panics", [True, False])
def test_a_chunk_that_cannot_be_read_is_named_and_the_rest_is_verified(
    settings: Settings, digest: str, monkeypatch: pytest.MonkeyPatch, panics: bool
) -> None:
    """Over some damaged files the reader panics, which is no ``Exception``."""
    ref = open_blob_store(settings.blobs_url).put(b"PAR1" * 20)
    database = open_database(settings)
    chunk = {"kind": "predictions", "stream": "late", "writer": "gw", "seq": 1, "rows": 3, "event_at_min": 1}
    chunk |= {"event_at_max": 2, "digest": ref.digest, "size_bytes": ref.size_bytes, "id_first": "A", "id_last": "C"}
    args = {"chunks": [chunk]}
    Dispatcher(database).call("chunks.register", args, actor=SERVICE_ACTOR, project="flights")
    database.close()

    def panic(*_: Any, **__: Any) -> Any:
        raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")

    if panics:
        monkeypatch.setattr(pl, "scan_parquet", panic)
    report = verify_state(settings)
    assert (report.chunks, report.blobs) == (1, 2)
    (problem,) = report.problems
    assert "of flights/late cannot be read" in problem


@pytest.fixture
def signed(settings: Settings) -> Settings:
    """A state folder with viewers, whose server has signed its log and ended."""
    settings = msgspec.structs.replace(settings, service_token="lws_" + "x" * 32)
    database = open_database(settings)
    dispatcher = Dispatcher(database)
    dispatcher.call("projects.create", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM)
    for number in range(12):
        args = {"actor": f"person:p{number}", "role": "viewer"}
        dispatcher.call("tokens.create", args, actor=LOCAL_ACTOR, project="flights")
    sign(dispatcher, settings)
    database.close()
    return settings


def sign(dispatcher: Dispatcher, settings: Settings) -> None:
    signing = Checkpointing(dispatcher, open_checkpoints(settings))
    signing.start()
    signing.stop()


def run_sql(settings: Settings, *statements: str) -> None:
    """Write the database as somebody does who has its file."""
    with contextlib.closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_signed_state_holds(signed: Settings) -> None:
    report = verify_state(signed)
    assert (report.events, report.checkpoints, report.problems, report.notes) == (13, 1, [], [])


def test_the_end_of_the_log_cannot_be_cut_off_unseen(signed: Settings) -> None:
    run_sql(
        signed,
        "DELETE FROM events WHERE position > (SELECT max(position) FROM events) - 10",
        "UPDATE tokens SET role = 'admin' WHERE role = 'viewer'",
    )
    report = verify_state(signed)
    assert "the last 10 events are gone" in report.problems[0]
    assert "loopwright verify --put-back" in report.problems[0]
    raised = [problem for problem in report.problems if "role is 'admin', but 'viewer' by" in problem]
    assert len(raised) == 2, "the events of the others are gone, too"
    assert sum("no event made it" in problem for problem in report.problems) == 10


def test_a_row_that_no_event_accounts_for_is_named(signed: Settings) -> None:
    run_sql(signed, "UPDATE tokens SET role = 'admin' WHERE actor = 'person:p3'")
    (problem,) = verify_state(signed).problems
    assert re.search(r"tokens: tok_\w+ of flights: role is 'admin', but 'viewer' by tokens.created", problem)


def test_an_older_database_that_was_put_back_is_told_until_somebody_says_so(signed: Settings, tmp_path: Path) -> None:
    file = Path(signed.database_url.removeprefix("sqlite:///"))
    older = file.read_bytes()
    database = open_database(signed)
    dispatcher = Dispatcher(database)
    for number in range(20):
        args = {"actor": f"person:q{number}", "role": "viewer"}
        dispatcher.call("tokens.create", args, actor=LOCAL_ACTOR, project="flights")
    sign(dispatcher, signed)
    database.close()
    file.write_bytes(older)
    for leftover in file.parent.glob(f"{file.name}-*"):
        leftover.unlink()
    (problem,) = verify_state(signed).problems
    assert "the last 20 events are gone" in problem
    assert put_log_back(signed, "the disk died") == 1
    assert verify_state(signed).problems == []
    run_sql(signed, "DELETE FROM events WHERE position = (SELECT max(position) FROM events)")
    assert "the last 1 events are gone" in verify_state(signed).problems[0], "what was put back is signed as well"
