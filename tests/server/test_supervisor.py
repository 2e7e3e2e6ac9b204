"""The supervisor's secret and ports."""

import socket
from pathlib import Path

import msgspec
import pytest

from loopwright.config import load_settings
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.server.supervisor import ROLES, Supervisor, check_address, check_port, free_port, service_token


def test_the_service_token_is_random_kept_and_for_its_owner_only(tmp_path: Path) -> None:
    first = service_token(tmp_path / "a")
    assert service_token(tmp_path / "a") == first != service_token(tmp_path / "b")
    assert len(first) > 40
    assert (tmp_path / "a" / "service.token").stat().st_mode & 0o077 == 0
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


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
