"""One server a state folder: a second one is told where the first answers."""

import json
import threading
from pathlib import Path

import pytest

from loopwright.config import Settings, load_settings
from loopwright.kernel.errors import Unavailable
from loopwright.server.ownership import find_running, refuse_if_owned, sole_owner
from loopwright.server.supervisor import Supervisor


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "state")


def test_two_servers_never_work_on_one_folder(settings: Settings) -> None:
    refused = pytest.raises(Unavailable, match="another server")
    with sole_owner(settings), refused, sole_owner(settings):
        pass
    with sole_owner(settings):
        pass
    assert settings.state_dir.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="state folder"), sole_owner(load_settings(tmp_path / "file" / "x")):
        pass


def test_a_second_platform_is_told_where_the_first_serves(settings: Settings) -> None:
    refuse_if_owned(settings)
    assert not settings.state_dir.exists()
    with sole_owner(settings):
        assert find_running(settings) is None
        place = {"url": "http://127.0.0.1:9", "gateway_url": "http://127.0.0.1:10", "pid": 1, "pids": {"server": 2}}
        settings.server_file.write_text(json.dumps(place))
        with pytest.raises(Unavailable, match=r"serves at http://127\.0\.0\.1:9") as refused:
            Supervisor(settings).start()
        assert "--state" in str(refused.value.next_step)
        found = find_running(settings)
        assert found is not None
        assert found.pids == {"server": 2}
        assert settings.server_file.exists()
    refuse_if_owned(settings)
    assert find_running(settings) is None


def test_who_looks_whether_a_server_runs_keeps_none_from_starting(settings: Settings) -> None:
    with sole_owner(settings):
        pass
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            find_running(settings)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            with sole_owner(settings):
                pass
    finally:
        is_over.set()
        looking.join()
