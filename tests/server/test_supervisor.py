"""The supervisor's secret and ports."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from loopwright.config import child_environment, load_settings, write_secrets
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.server.ownership import sole_owner
from loopwright.server.supervisor import (
    Supervisor,
    make_private,
    service_token,
)
from tests.waiting import wait_until


def test_the_service_token_is_random_kept_and_for_its_owner_only(tmp_path: Path) -> None:
    first = service_token(tmp_path / "a")
    assert service_token(tmp_path / "a") == first != service_token(tmp_path / "b")
    assert len(first) > 40
    assert (tmp_path / "a" / "service.token").stat().st_mode & 0o077 == 0
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


def test_all_who_start_at_once_share_one_token(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def take(_: int) -> str:
        start.wait()
        return service_token(tmp_path)

    for round_number in range(20):
        (tmp_path / "service.token").unlink(missing_ok=True)
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(take, range(8)))) == 1, f"round {round_number}"


def test_an_empty_token_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "service.token").write_text("")
    assert len(service_token(tmp_path)) > 40


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="state folder"):
        service_token(tmp_path / "file" / "x")


def test_a_platform_that_others_reach_is_not_started_open_and_the_way_on_is_said(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(load_settings(tmp_path), host="0.0.0.0", gateway_url="http://lw")
    with pytest.raises(InvalidInput, match="loopback") as told:
        Supervisor(settings).start()
    assert "--auth" in str(told.value.next_step)


def test_a_state_folder_that_is_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "state").chmod(0o755)
    make_private(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    make_private(tmp_path / "new" / "state")
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700


def test_secrets_reach_a_process_by_a_pipe_and_leave_no_trace() -> None:
    """What a process was started with stays readable for every program of its user."""
    program = """
import os
from pathlib import Path
from loopwright.config import take_settings
found = take_settings()
assert (found.service_token, found.database_url) == ("lws_secret", "postgresql://u:lws_secret@h/d")
shown = Path("/proc/self/environ").read_text() if Path("/proc").exists() else ""
assert "lws_secret" not in shown + str(dict(os.environ)), shown
Path("made").write_text("x")
assert Path("made").stat().st_mode & 0o777 == 0o600
"""
    pipe = write_secrets(LOOPWRIGHT_SERVICE_TOKEN="lws_secret", LOOPWRIGHT_DATABASE="postgresql://u:lws_secret@h/d")
    environment = child_environment(LOOPWRIGHT_SECRETS=str(pipe))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", program], check=True, env=environment, pass_fds=(pipe,), cwd=folder)
    os.close(pipe)


def runs(pid: int) -> bool:
    """Say whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def worker_alone(state: Path, told: list[str]) -> Supervisor:
    """Return what runs one worker, which needs nobody to come up."""
    settings = load_settings(state)
    return Supervisor(msgspec.structs.replace(settings, url="http://127.0.0.1:1"), ("worker",), told.append)


def test_what_runs_without_a_server_belongs_to_that_of_its_state_folder(tmp_path: Path) -> None:
    """The ports of these settings say where a server started here would be, not where the one that runs is."""
    settings = load_settings(tmp_path)
    with pytest.raises(Unavailable, match="no server works on this state folder") as refused:
        Supervisor(settings, ("gateway",)).start()
    assert "LOOPWRIGHT_URL" in str(refused.value.next_step)
    place = {"url": "http://127.0.0.1:8500", "gateway_url": "", "pid": 0, "pids": {"server": 2}}
    with sole_owner(settings):
        settings.server_file.write_text(json.dumps(place))
        assert Supervisor(settings, ("gateway",)).server_url == "http://127.0.0.1:8500"
        named = msgspec.structs.replace(settings, url="http://elsewhere")
        assert Supervisor(named, ("worker",)).server_url == "http://elsewhere"
    settings.server_file.write_text(json.dumps({**place, "pid": os.getpid()}))
    assert Supervisor(settings, ("worker",)).server_url == "http://127.0.0.1:8500", "it is started again meanwhile"
    settings.server_file.write_text(json.dumps({**place, "pid": os.getpid(), "pids": {"worker": 2}}))
    with pytest.raises(Unavailable, match="no server works"):
        Supervisor(settings, ("gateway",)).start()


@pytest.mark.slow
def test_where_nothing_can_be_written_the_platform_goes_on_and_says_what_it_cannot_start(tmp_path: Path) -> None:
    told = list[str]()
    supervisor = worker_alone(tmp_path / "state", told)
    supervisor.start()
    try:
        logs = tmp_path / "state" / "logs"
        logs.rename(tmp_path / "kept")
        logs.write_text("a file where logs were: nothing can be written, as on a disk that is read-only")
        draft = supervisor.settings.server_file.with_suffix(".tmp")
        draft.mkdir()
        supervisor.settings.server_file.unlink()
        supervisor.kill("worker")
        wait_until(lambda: (supervisor.look(), any("cannot be started" in line for line in told))[1])
        assert sum("no client of this machine can be told" in line for line in told) == 1
        logs.unlink()
        (tmp_path / "kept").rename(logs)
        draft.rmdir()
        wait_until(lambda: (supervisor.look(), runs(supervisor.pid("worker")))[1])
        assert supervisor.settings.server_file.exists()
    finally:
        supervisor.stop()


@pytest.mark.slow
def test_the_last_words_of_a_process_are_its_own(tmp_path: Path) -> None:
    """A killed one says nothing; what the one before it said is not why."""
    told = list[str]()
    supervisor = worker_alone(tmp_path / "state", told)
    (tmp_path / "state" / "logs").mkdir(parents=True)
    (tmp_path / "state" / "logs" / "worker.log").write_text("of another life\n")
    supervisor.start()
    try:
        supervisor.kill("worker")
        wait_until(lambda: (supervisor.look(), told)[1])
    finally:
        supervisor.stop()
    assert "ended by SIGKILL; its last words: " in told[0]
    assert "of another life" not in told[0]


@pytest.mark.slow
def test_whoever_is_told_to_stop_while_it_starts_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = worker_alone(tmp_path / "state", [])

    def stopped(_: str) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(supervisor, "_refuse_ended", stopped)
    with pytest.raises(SystemExit):
        supervisor.start()
    assert not runs(supervisor.pid("worker"))
