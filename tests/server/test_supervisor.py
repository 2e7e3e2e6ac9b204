"""The supervisor's secret and ports."""

import socket
from pathlib import Path

import pytest

from loopwright.kernel.errors import Unavailable
from loopwright.server.supervisor import check_port, free_port, service_token


def test_b2_20_21_the_service_token_is_random_kept_and_for_its_owner_only(tmp_path: Path) -> None:
    first = service_token(tmp_path / "a")
    assert service_token(tmp_path / "a") == first != service_token(tmp_path / "b")
    assert len(first) > 40
    assert (tmp_path / "a" / "service.token").stat().st_mode & 0o077 == 0
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


def test_b2_21_an_empty_token_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "service.token").write_text("")
    assert len(service_token(tmp_path)) > 40


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="state folder"):
        service_token(tmp_path / "file" / "x")


def test_a_port_in_use_says_which_variable_to_set() -> None:
    port = free_port()
    check_port("gateway", "127.0.0.1", port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(Unavailable, match="LOOPWRIGHT_GATEWAY_PORT"):
            check_port("gateway", "127.0.0.1", port)
