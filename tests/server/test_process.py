"""Starting a server: exposure and clear errors where it cannot."""

from pathlib import Path

import msgspec
import pytest

from loopwright.config import Settings, load_settings
from loopwright.kernel.errors import InvalidInput
from loopwright.server.process import open_database
from loopwright.store.migrate import current_revision, revisions
from loopwright.wire.exposure import may_run_open


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("LOOPWRIGHT_AUTH", "LOOPWRIGHT_HOST", "LOOPWRIGHT_DATABASE", "LOOPWRIGHT_BLOBS"):
        monkeypatch.delenv(name, raising=False)
    return load_settings(tmp_path / "state")


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.com"])
def test_a_server_that_others_reach_does_not_run_open(settings: Settings, host: str) -> None:
    with pytest.raises(InvalidInput, match="loopback"):
        may_run_open(msgspec.structs.replace(settings, host=host), "server")
    assert may_run_open(msgspec.structs.replace(settings, host=host, auth="on"), "server") is False


def test_a_misspelt_setting_does_not_open_the_door(settings: Settings) -> None:
    assert may_run_open(settings, "server") is True
    for auth in ("true", "1", "yes", "ON ", "enabled"):
        with pytest.raises(InvalidInput, match="on or off"):
            may_run_open(msgspec.structs.replace(settings, auth=auth), "gateway")


def test_opening_migrates(settings: Settings) -> None:
    database = open_database(settings)
    assert database.read(current_revision) == revisions()[-1]
    database.close()


@pytest.mark.parametrize("port", ["x", "-1", "65536", "8e3", "٣"])
def test_a_port_that_is_none_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("LOOPWRIGHT_PORT", port)
    with pytest.raises(InvalidInput, match="LOOPWRIGHT_PORT"):
        load_settings()
