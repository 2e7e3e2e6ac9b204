"""Where server and gateway listen: what cannot be is refused by the setting that is to blame."""

import socket
from pathlib import Path

import msgspec
import pytest

from loopwright.config import load_settings
from loopwright.kernel.errors import InvalidInput, LoopwrightError, Unavailable
from loopwright.server.listening import check_address, check_port, free_port, listening
from loopwright.server.supervisor import ROLES


def test_a_gateway_on_a_machine_of_its_own_must_know_its_address(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(load_settings(tmp_path), host="0.0.0.0", gateway_url="")
    check_address(settings, ROLES)
    with pytest.raises(InvalidInput, match="LOOPWRIGHT_GATEWAY_URL"):
        check_address(settings, ("gateway", "worker"))
    check_address(msgspec.structs.replace(settings, gateway_url="http://predict:8401"), ("gateway",))


def test_a_port_in_use_says_which_variable_to_set() -> None:
    port = free_port()
    check_port("gateway", "127.0.0.1", port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(Unavailable, match="LOOPWRIGHT_GATEWAY_PORT"):
            check_port("gateway", "127.0.0.1", port)


def test_server_and_gateway_are_not_given_one_port(tmp_path: Path) -> None:
    port = free_port()
    settings = msgspec.structs.replace(load_settings(tmp_path), port=port, gateway_port=port)
    with pytest.raises(InvalidInput, match="LOOPWRIGHT_GATEWAY_PORT"):
        listening(settings, ROLES)
    assert listening(settings, ("gateway",)) == {"gateway": f"http://127.0.0.1:{port}"}


@pytest.mark.parametrize("port", [0, -5, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(InvalidInput, match="LOOPWRIGHT_PORT"):
        check_port("server", "127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1", "[::1]", "2001:db8::1", "lw..example"])
def test_a_host_that_is_not_this_machine_is_not_told_as_a_port_in_use(host: str) -> None:
    with pytest.raises(LoopwrightError) as told:
        check_port("server", host, free_port())
    assert told.value.field == "LOOPWRIGHT_HOST"
    assert host in str(told.value.value)


def test_a_host_may_be_an_address_of_ipv6(tmp_path: Path) -> None:
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    settings = msgspec.structs.replace(load_settings(tmp_path), host="::1", port=port)
    assert listening(settings, ("server",)) == {"server": f"http://[::1]:{port}"}
