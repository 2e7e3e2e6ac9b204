"""The supervisor's secret and ports."""

import os
import socket
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
from loopwright.server.supervisor import (
    ROLES,
    Supervisor,
    check_address,
    check_port,
    free_port,
    make_private,
    service_token,
)


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


def test_a_gateway_on_a_machine_of_its_own_must_know_its_address(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(load_settings(tmp_path), host="0.0.0.0", gateway_url="")
    check_address(settings, ROLES)
    with pytest.raises(InvalidInput, match="LOOPWRIGHT_GATEWAY_URL"):
        check_address(settings, ("gateway", "worker"))
    check_address(msgspec.structs.replace(settings, gateway_url="http://predict:8401"), ("gateway",))


def test_a_platform_that_others_reach_is_not_started_open_and_the_way_on_is_said(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(load_settings(tmp_path), host="0.0.0.0", gateway_url="http://lw")
    with pytest.raises(InvalidInput, match="loopback") as told:
        Supervisor(settings).start()
    assert "--auth" in str(told.value.next_step)


def test_a_port_in_use_says_which_variable_to_set() -> None:
    port = free_port()
    check_port("gateway", "127.0.0.1", port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(Unavailable, match="LOOPWRIGHT_GATEWAY_PORT"):
            check_port("gateway", "127.0.0.1", port)


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
