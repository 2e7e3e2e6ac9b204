"""One server a state folder: a second one is told where the first answers."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import msgspec
import pytest

from loopwright.config import Settings, load_settings
from loopwright.kernel.errors import Unavailable
from loopwright.server.ownership import clear_state, find_running, refuse_if_owned, sole_owner
from loopwright.server.supervisor import Supervisor
from loopwright.wire.folders import hold_folder
from tests.servers import free_port


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
    started = 0
    try:
        for _ in range(200):
            with sole_owner(settings):
                started += 1
    finally:
        is_over.set()
        looking.join()
    assert started == 200


def test_who_waits_for_a_folder_that_is_deleted_gets_the_one_that_comes_after_it(settings: Settings) -> None:
    lock, is_held, may_end = settings.state_dir / "server.lock", threading.Event(), threading.Event()

    def wait() -> None:
        with hold_folder(lock, 30, lambda: Unavailable("taken")):
            is_held.set()
            may_end.wait(30)

    waiting = threading.Thread(target=wait)
    with sole_owner(settings):
        waiting.start()
        shutil.rmtree(settings.state_dir, ignore_errors=True)  # the lock may come back while its folder goes
    try:
        assert is_held.wait(30)
        assert lock.exists()
        with pytest.raises(Unavailable, match="another server"), sole_owner(settings):
            pass
    finally:
        may_end.set()
        waiting.join()


def test_a_folder_that_is_deleted_while_it_is_made_is_made_again(settings: Settings) -> None:
    lock, is_over, held = settings.state_dir / "server.lock", threading.Event(), 0

    def delete() -> None:
        while not is_over.is_set():
            shutil.rmtree(settings.state_dir, ignore_errors=True)

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        for _ in range(1000):
            with hold_folder(lock, 30, lambda: Unavailable("taken")):
                held += 1
    finally:
        is_over.set()
        deleting.join()
    assert held == 1000


def test_a_cleared_folder_keeps_its_lock_alone(settings: Settings) -> None:
    for name in ("blobs/ab", "gateway-0"):
        (settings.state_dir / name).mkdir(parents=True)
    (settings.state_dir / "loopwright.db").write_text("rows")
    gateway = settings.state_dir / "gateway-0" / "lock"
    with hold_folder(gateway, 0, lambda: Unavailable("taken")), pytest.raises(Unavailable, match="gateway"):
        clear_state(settings)
    assert (settings.state_dir / "loopwright.db").exists()
    clear_state(settings)
    assert [child.name for child in settings.state_dir.iterdir()] == ["server.lock"]


def test_clearing_that_was_broken_off_leaves_nothing_that_looks_like_a_platform(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.state_dir / "blobs" / "ab").mkdir(parents=True)
    (settings.state_dir / "loopwright.db").write_text("rows")

    def die(folder: Path) -> None:
        if folder.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("loopwright.server.ownership.remove", die)
        with pytest.raises(KeyboardInterrupt):
            clear_state(settings)
    left = {child.name for child in settings.state_dir.iterdir()}
    assert left == {"server.lock", ".leaving"}
    clear_state(settings)
    assert [child.name for child in settings.state_dir.iterdir()] == ["server.lock"]


@pytest.mark.slow
def test_who_is_refused_leaves_the_running_platform_findable(settings: Settings) -> None:
    place = {"url": "http://a", "gateway_url": "http://b", "pid": os.getppid(), "pids": {"server": 2}}
    settings.state_dir.mkdir(parents=True)
    settings.server_file.write_text(json.dumps(place))
    (settings.state_dir / "tmp").mkdir()
    (settings.state_dir / "tmp" / "in-use").write_text("")
    in_use = msgspec.structs.replace(settings, port=free_port(), gateway_port=free_port())
    with hold_folder(settings.state_dir / "gateway-0" / "lock", 0, lambda: Unavailable("taken")):
        with pytest.raises(Unavailable, match="another gateway works on this folder"):
            Supervisor(in_use, ("gateway",)).start()
        assert (settings.state_dir / "tmp" / "in-use").exists()
    assert json.loads(settings.server_file.read_text()) == place


@pytest.mark.slow
def test_a_worker_beside_a_platform_does_not_take_over_its_address(settings: Settings) -> None:
    place = {"url": "http://a", "gateway_url": "http://b", "pid": os.getppid(), "pids": {"server": 2}}
    settings.state_dir.mkdir(parents=True)
    settings.server_file.write_text(json.dumps(place))
    beside = Supervisor(settings, ("worker",))
    beside.start()
    beside.stop()
    assert json.loads(settings.server_file.read_text()) == place
    settings.server_file.write_text(json.dumps({**place, "pid": _pid_of_nobody()}))
    beside = Supervisor(msgspec.structs.replace(settings, url="http://a"), ("worker",))
    beside.start()
    told = json.loads(settings.server_file.read_text())
    beside.stop()
    assert (told["pid"], list(told["pids"])) == (os.getpid(), ["worker"])
    assert not settings.server_file.exists()


def _pid_of_nobody() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid
