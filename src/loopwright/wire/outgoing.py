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
    private = [address for address in addresses if not is_public(address)]
    if private and host not in allowed_hosts:
        raise InvalidInput(
            "web hooks do not call into private networks",
            field="channel",
            value=host,
            rule="public addresses only",
            next_step="an operator may list the host in the file webhook-hosts of the state folder",
        )
    return addresses[0]


_CARRIERS = [ipaddress.IPv6Network(each) for each in ("64:ff9b::/96", "::ffff:0:0/96", "::/96")]
"""Prefixes before an IPv4 address, which is where a call to such an address ends."""
_TUNNELS = [ipaddress.IPv6Network(each) for each in ("64:ff9b:1::/48", "2002::/16", "2001::/32")]
"""Prefixes of tunnels and local translators: what is behind them cannot be told, and no public service lives there."""


def is_public(address: str) -> bool:
    """Say whether an address belongs to the public Internet, by whatever prefix it is written.

    >>> is_public("8.8.8.8"), is_public("64:ff9b::7f00:1"), is_public("2002:7f00:1::"), is_public("64:ff9b::808:808")
    (True, False, False, True)
    """
    read = ipaddress.ip_address(address.split("%")[0])
    if isinstance(read, ipaddress.IPv6Address):
        if any(read in prefix for prefix in _TUNNELS):
            return False
        if any(read in prefix for prefix in _CARRIERS):
            return is_public(str(ipaddress.IPv4Address(int(read) & 0xFFFFFFFF)))
    return read.is_global and not read.is_multicast and not read.is_reserved
