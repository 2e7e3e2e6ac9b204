"""``doctor`` names what is missing and what to do."""

import socket
from pathlib import Path

import msgspec
import pytest

from loopwright.cli.examining import examine
from loopwright.config import Settings, load_settings
from tests.servers import free_port


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("LOOPWRIGHT_DATABASE", "LOOPWRIGHT_BLOBS"):
        monkeypatch.delenv(name, raising=False)
    return msgspec.structs.replace(load_settings(tmp_path / "state"), port=free_port(), gateway_port=free_port())


def test_a_sound_machine(settings: Settings) -> None:
    wrong = [finding for finding in examine(settings) if not finding.is_fine]
    assert wrong == []


@pytest.mark.slow
def test_what_is_wrong_is_named_with_what_to_do(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = msgspec.structs.replace(
        settings, blobs_url=str(tmp_path / "file" / "blobs"), database_url="mysql://ana:hunter2@h/d"
    )
    with socket.socket() as taken, socket.socket() as also_taken:
        for one, port in ((taken, settings.port), (also_taken, settings.gateway_port)):
            one.bind(("127.0.0.1", port))
            one.listen()
        found = {finding.what: finding for finding in examine(broken)}
    for what in ("server port", "database", "blob store"):
        assert not found[what].is_fine
        assert found[what].next_step
    assert found["server port"].found == f"{settings.port} is taken by another program"
    assert "set LOOPWRIGHT_PORT" in found["server port"].next_step
    assert "set LOOPWRIGHT_GATEWAY_PORT" in found["gateway port"].next_step
    assert "hunter2" not in str(found)
