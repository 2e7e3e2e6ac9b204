"""Who may reach a server or gateway: open ones only this machine, and no page of another site."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from loopwright.config import Settings
from loopwright.kernel.errors import InvalidInput, PermissionDenied


def may_run_open(settings: Settings, role: str) -> bool:
    """Return True if this process may answer without asking for tokens; False where auth is on.

    Args:
        settings: Auth and the address to listen on.
        role: ``server`` or ``gateway``, for the error.

    Raises:
        InvalidInput: It would listen on an address that others reach, and auth is not on; or the setting is misspelt.
    """
    if settings.auth not in ("", "on", "off"):  # also where it did not come from the environment
        raise InvalidInput("this is no setting of auth", field="LOOPWRIGHT_AUTH", value=settings.auth, rule="on or off")
    if settings.auth == "on":
        return False
    if not is_loopback(settings.host):
        raise InvalidInput(
            f"an open {role} may only listen on the loopback address",
            field="host",
            value=settings.host,
            rule="127.0.0.1 without auth",
            next_step="start with --auth, then create tokens",
        )
    return True


@lru_cache(256)
def is_loopback(host: str) -> bool:
    """Say whether a host name or address reaches only this machine.

    >>> is_loopback("localhost"), is_loopback("127.0.0.9"), is_loopback("[::1]"), is_loopback("localhost.evil.example")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """Return a Host header without its port.

    >>> host_name("127.0.0.1:8400"), host_name("[::1]:8400"), host_name("[::1]")
    ('127.0.0.1', '[::1]', '[::1]')
    """
    return host if host.endswith("]") else host.rsplit(":", 1)[0]


def refuse_foreign_host(host: str, role: str) -> None:
    """Refuse a request that another name led here: DNS rebinding makes a browser talk to an open server.

    Raises:
        PermissionDenied: The Host header names no loopback address.
    """
    if not is_loopback(host_name(host)):
        raise PermissionDenied(
            f"an open {role} answers to loopback names only",
            field="Host",
            value=host,
            next_step="use http://127.0.0.1, or start with --auth",
        )


def refuse_foreign_origin(origin: str | None, host: str) -> None:
    """Refuse a request that a page of another site sent.

    Raises:
        PermissionDenied: The Origin header is there and names another host than the Host header.
    """
    if origin and origin.split("://", 1)[-1] != host:
        raise PermissionDenied("this request comes from a page of another site", field="Origin", value=origin)


FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
"""Headers by which a proxy says for whom it asks."""


def refuse_forwarded(names: Iterable[str], role: str) -> None:
    """Refuse a request that a proxy passed on: behind one, an open server would take everybody for its owner.

    Args:
        names: Of the request's headers, in small letters.
        role: ``server`` or ``gateway``, for the error.

    Raises:
        PermissionDenied: A header tells of a proxy.
    """
    for name in names:
        if name in FORWARDING:
            raise PermissionDenied(
                f"an open {role} does not answer through a proxy",
                field=name,
                rule="whoever the proxy lets through would be its owner",
                next_step="start with --auth, then create tokens",
            )
