"""Finding the server that a command or program means, and the token that is for it.

Tokens belong to addresses. One that ``loopwright login`` kept is shown to the address that it was kept for, and to
gateways that this server or ``LOOPWRIGHT_GATEWAY_URL`` names. ``LOOPWRIGHT_TOKEN`` is for ``LOOPWRIGHT_URL``; where
none is set, for the server of the state folder, if that is on this machine and runs as this user or root: a folder may
be another user's or have come with somebody's files, and its ``server.json`` name any address.
"""

import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from loopwright.client.caller import HttpCaller
from loopwright.client.tokens import find_token
from loopwright.config import Settings, load_settings
from loopwright.kernel.errors import PermissionDenied, Unavailable
from loopwright.wire.addresses import Addresses

_LISTENS = "0A"


def find_caller(settings: Settings | None = None) -> HttpCaller:
    """Return a caller for ``LOOPWRIGHT_URL``, else for the server that runs on the state folder.

    It shows ``LOOPWRIGHT_TOKEN``, else the token that ``loopwright login`` kept for that very address.

    Raises:
        Unavailable: No server is running here.
        PermissionDenied: ``LOOPWRIGHT_TOKEN`` is not for the address that the state folder names.
    """
    settings = settings or load_settings()
    if settings.url:
        token = settings.token or next(filter(None, map(find_token, Addresses(settings.url).urls)), "")
        return HttpCaller(settings.url, settings.gateway_url, token)
    if not settings.server_file.exists():
        raise Unavailable(
            "no Loopwright server is running here",
            field="state_dir",
            value=str(settings.state_dir),
            next_step=_elsewhere(settings) or "start one with: loopwright up",
        )
    url, gateway_url = _read_server_file(settings)
    token = settings.token
    if token:
        check_addressee(settings, url)
    else:
        url, token = _kept(Addresses(url).urls)
    # What the file says of a gateway is nobody's word: with a token the server is asked.
    return HttpCaller(url, settings.gateway_url or ("" if token else gateway_url), token)


def _kept(urls: tuple[str, ...]) -> tuple[str, str]:
    """Return, of addresses that stand for each other, those that one token was kept for, and it; all where none was."""
    kept = {url: find_token(url) for url in urls}
    token = next(filter(None, kept.values()), "")
    return ",".join(url for url in urls if kept[url] == token), token


def check_addressee(settings: Settings, url: str) -> None:
    """See to it that a token which was named for no address goes to no stranger.

    Args:
        settings: Say whether somebody named the server, or the state folder does.
        url: Where it would go.

    Raises:
        PermissionDenied: The state folder names an address of another machine, or where another user listens.
    """
    if settings.url or all(_is_own(one) for one in Addresses(url).urls):
        return
    raise PermissionDenied(
        f"no token is shown to {url}: it is not on this machine, or another user's, and only a file names it",
        field="LOOPWRIGHT_URL",
        value=str(settings.server_file),
        next_step=f"if that is the server you mean: export LOOPWRIGHT_URL={url}",
    )


def _is_own(url: str) -> bool:
    """Say whether an address is one of this machine, at which nobody listens but this user or root."""
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family) as probe:
            probe.bind((host, 0))
        port = parts.port or 0
    except (ValueError, OSError):
        return False
    return _listeners(port) <= {os.getuid(), 0}


def _listeners(port: int) -> set[int]:
    """Return the users that listen on a port of this machine, where its kernel says so."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        rows = table.read_text().splitlines()[1:] if table.exists() else []
        for fields in map(str.split, rows):
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(int(fields[7]))
    return found


def _elsewhere(settings: Settings) -> str:
    """Return how to name a state folder beside this one that a server was started on, such as the demo's."""
    beside = settings.state_dir.parent.glob(f"{settings.state_dir.name}*/{settings.server_file.name}")
    found = sorted(place.parent.name for place in beside)
    return f"start one with loopwright up, or, if you mean that one, LOOPWRIGHT_STATE={found[0]}" if found else ""


def _read_server_file(settings: Settings) -> tuple[str, str]:
    try:
        document = json.loads(settings.server_file.read_text())
        return str(document["url"]), str(document["gateway_url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            "the file that says where the server is cannot be read",
            field="server_file",
            value=f"{settings.server_file}: {error}",
            next_step="start the server again: loopwright up",
        ) from None


@contextmanager
def calling(settings: Settings | None = None) -> Iterator[HttpCaller]:
    """Yield a caller and close it afterwards."""
    caller = find_caller(settings)
    try:
        yield caller
    finally:
        caller.close()
