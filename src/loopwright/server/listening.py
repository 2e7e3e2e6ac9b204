"""Where server and gateway listen: what cannot be is refused before anything starts."""

import errno
import socket

from loopwright.config import Settings
from loopwright.kernel.errors import InvalidInput, LoopwrightError, Unavailable
from loopwright.wire.addresses import base_url

_SETTINGS = {"server": "LOOPWRIGHT_PORT", "gateway": "LOOPWRIGHT_GATEWAY_PORT"}


def listening(settings: Settings, roles: tuple[str, ...]) -> dict[str, str]:
    """Return where each of some roles listens on this machine, once it is sure that it can.

    Raises:
        InvalidInput: Two would listen on one port, or at an address that is none of this machine.
        Unavailable: Something listens there already.
    """
    ports = {"server": settings.port, "gateway": settings.gateway_port}
    here = {role: ports[role] for role in roles if role in ports}
    if len(set(here.values())) < len(here):
        raise InvalidInput(
            "server and gateway cannot listen on one port",
            field=_SETTINGS["gateway"],
            value=settings.gateway_port,
            next_step="give each a port of its own: --port and --gateway-port",
        )
    for role, port in here.items():
        check_port(role, settings.host, port)
    return {role: base_url(settings.host, port) for role, port in here.items()}


def check_address(settings: Settings, roles: tuple[str, ...]) -> None:
    """Make sure that clients can be told where a gateway is.

    Raises:
        InvalidInput: It listens everywhere, without a server beside it through whose name it could be reached.
    """
    is_alone = "gateway" in roles and "server" not in roles
    if is_alone and settings.host in ("0.0.0.0", "::") and not settings.gateway_url:
        raise InvalidInput(
            "a gateway without a server beside it must be told its own address",
            field="LOOPWRIGHT_GATEWAY_URL",
            rule=f"{settings.host} leads nobody here",
            next_step="set LOOPWRIGHT_GATEWAY_URL to the address that clients and the server reach it under",
        )


def check_port(role: str, host: str, port: int) -> None:
    """Make sure a port is free.

    Raises:
        InvalidInput: It is no port, or no address of this machine.
        Unavailable: Something listens there already, or this user may not.
    """
    if not 0 < port < 65536:
        rule = "a whole number from 1 to 65535"
        raise InvalidInput(f"the {role} cannot listen there", field=_SETTINGS[role], value=port, rule=rule)
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except UnicodeError as error:  # a part of the name is empty or too long
        raise _cannot_listen(role, host, port, OSError(0, str(error))) from None
    except OSError as error:
        raise _cannot_listen(role, host, port, error) from None


def _cannot_listen(role: str, host: str, port: int, error: OSError) -> LoopwrightError:
    what, why = f"the {role} cannot listen on {host}:{port}", f"{port}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            what, field="port", value=why, next_step=f"stop what listens there, or set {_SETTINGS[role]}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        next_step = f"set {_SETTINGS[role]} to one above 1023, or let this user have it"
        return Unavailable(what, field="port", value=why, next_step=next_step)
    return InvalidInput(
        what,
        field="LOOPWRIGHT_HOST",
        value=f"{host}: {error.strerror}",
        rule="a name or an address of this machine, or 0.0.0.0 for all of them; IPv6 without brackets",
    )


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
