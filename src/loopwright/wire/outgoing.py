"""Calls that leave the platform for an address that a user named."""

import ipaddress
import socket

from loopwright.kernel.errors import InvalidInput, Unavailable


def public_address(host: str, port: int, allowed_hosts: frozenset[str]) -> str:
    """Return an address of a host, all of whose addresses are public unless the host is allowed.

    The caller connects to that address and not to the name, so that it cannot change between check and call.

    Raises:
        InvalidInput: One of them is private, loopback, link-local or otherwise not of the public Internet.
        Unavailable: The name leads nowhere.
    """
    try:
        addresses = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        raise Unavailable("this host cannot be found", field="channel", value=host) from None
    private = [address for address in addresses if not ipaddress.ip_address(address.split("%")[0]).is_global]
    if private and host not in allowed_hosts:
        raise InvalidInput(
            "web hooks do not call into private networks",
            field="channel",
            value=host,
            rule="public addresses only",
            next_step="an operator may list the host in the file webhook-hosts of the state folder",
        )
    return addresses[0]
