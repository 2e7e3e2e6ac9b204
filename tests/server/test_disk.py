"""A server whose database became read-only says so, goes on answering what it can, and recovers."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from loopwright.kernel.errors import Unavailable
from loopwright.server import background
from loopwright.server.background import Background
from loopwright.server.disk import BlobWatch, DiskWatch, disks_of
from loopwright.store.blobs import open_blob_store
from tests.server.site import Site, serve
from tests.servers import settings_in


def writer_of(site: Site) -> Any:
    """Return the driver's connection by which the server writes."""
    return site.context.database.write(lambda connection: connection.connection.dbapi_connection)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server of this test alone."""
    yield from serve(tmp_path, is_open=True)


def test_a_database_that_became_read_only_is_told_survived_and_left_behind(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = DiskWatch(tmp_path, site.context.database, site.context.dispatcher.wall)

    def start() -> Any:
        return site.call("tracking.start_run", experiment="late")

    assert start().status_code == 200
    with site.http() as http:
        writer = writer_of(site)
        writer.execute("PRAGMA query_only=ON")  # what SQLite says of a file that cannot be written
        answers = [start() for _ in range(5)]
        assert {answer.status_code for answer in answers} == {503}
        assert answers[0].json()["error"]["message"] == "the database cannot be written"
        for _ in range(3):
            with pytest.raises(Unavailable, match="cannot be written"):
                watch.look()
        health = http.get("/healthz")
        assert (health.status_code, health.json()["why"]) == (503, ["the database cannot be written"])
        assert str(tmp_path) not in health.text
        assert len(site.call("tracking.search_runs").json()) == 1
        assert http.get("/p/flights").status_code == 200
        assert caplog.text.count("nothing can be written") == 1
        writer.execute("PRAGMA query_only=OFF")
        assert start().status_code == 200
        watch.look()
        assert http.get("/healthz").status_code == 200
    assert len(site.call("tracking.search_runs").json()) == 2


def test_each_disk_that_is_written_to_is_looked_at(site: Site, tmp_path: Path) -> None:
    there = site.context.settings
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one disk alone")
    assert disks_of(there) == [there.state_dir]
    away = msgspec.structs.replace(there, blobs_url=str(shared / "not made yet" / "blobs"))
    assert disks_of(away) == [there.state_dir, shared]


def test_a_blob_store_that_cannot_be_used_is_told_until_it_can(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "elsewhere"
    folder.write_text("a file where the blobs should be")
    store = open_blob_store(str(folder))
    watch = BlobWatch(store, str(folder), site.context.database, site.context.dispatcher.wall)

    def needs() -> list[Any]:
        return [need for need in site.call("loop.attention").json()["needs"] if need["kind"] == "blobs"]

    with site.http():
        assert not watch.look()
        assert not watch.look()
        assert caplog.text.count(f"the blob store {folder} cannot be used") == 1
        [need] = needs()
        assert (need["severity"], need["command"]) == ("critical", "loopwright doctor")
        assert need["sentence"] == f"the blob store {folder} cannot be used: no file is stored or read"
        folder.unlink()
        assert watch.look()
        assert needs() == []
        assert list(store.digests()) == [], "what it was tried with is gone"
        assert watch.look()
        shutil.rmtree(folder)
        folder.write_text("a file where the blobs were")
        assert not watch.look(), "what was in use fails later"
        assert len(needs()) == 1
        assert caplog.text.count(f"the blob store {folder} cannot be used") == 2
        assert caplog.text.count("can be used again") == 1


def test_a_database_that_does_not_answer_is_told_as_such(site: Site) -> None:
    site.context.database.failure, site.context.database.is_away = "the database did not answer", True
    with site.http() as http:
        health = http.get("/healthz")
    assert (health.status_code, health.json()["why"]) == (503, ["the database does not answer"])


def test_what_keeps_a_loop_from_its_work_is_logged_once_however_long_it_lasts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "PAUSE_S", 0.0)
    parts: Any = SimpleNamespace(settings=settings_in(Path(), 0, ""), database=SimpleNamespace(note=lambda _: None))
    parts.dispatcher = SimpleNamespace(wall=None)
    loops, turns = Background(parts), iter(range(12))

    def step() -> None:
        turn = next(turns)
        if turn == 11:
            loops._stop.set()
        elif turn != 6:
            raise Unavailable("the database cannot be written")

    with caplog.at_level(logging.ERROR):
        loops._run("reactor", step)
    assert len(caplog.records) == 2  # before it could once, and after
    assert not any(record.exc_info for record in caplog.records)
