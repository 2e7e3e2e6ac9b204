"""One server a state folder: the lock that says so, and where the server that holds it answers."""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from loopwright.config import Settings
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.removing import remove
from loopwright.wire.folders import hold_folder, is_held

_LOCK = "server.lock"
_LEAVING = ".leaving"


class Place(msgspec.Struct, frozen=True):
    """Where a running platform answers.

    Args:
        url: Of the server.
        gateway_url: Of the gateway; empty where none runs there and the server is to be asked.
        pids: Process ids of each role that runs there.
        pid: Of what started them.
        dying: How those roles ended lastly that keep dying.
    """

    url: str
    gateway_url: str
    pids: dict[str, int]
    pid: int = 0
    dying: dict[str, str] = {}


def sole_owner(settings: Settings) -> AbstractContextManager[None]:
    """Hold the lock of a state folder, so that two servers never write one file.

    Raises:
        Unavailable: Another process holds it, or the folder cannot be written.
    """
    return hold_folder(settings.state_dir / _LOCK, 0, lambda: _owned(settings))


def refuse_if_owned(settings: Settings) -> None:
    """Refuse a state folder that a server works on.

    Raises:
        Unavailable: One does; says where it answers.
    """
    if is_held(settings.state_dir / _LOCK):
        raise _owned(settings)


@contextmanager
def nobody_else(settings: Settings) -> Iterator[None]:
    """Hold the lock of a state folder that no server, gateway or worker works on.

    Raises:
        Unavailable: One does, or the folder cannot be written.
    """
    with sole_owner(settings):
        for lock in settings.state_dir.glob("*/lock"):
            if is_held(lock):
                what = f"a {lock.parent.name.partition('-')[0]} still works on this folder"
                raise Unavailable(what, value=str(lock.parent), next_step="stop it")
        yield


def clear_state(settings: Settings) -> None:
    """Delete what a state folder holds, but for the lock that keeps others out meanwhile.

    Deleting takes seconds and may be broken off, so everything leaves its place first: a database without its blobs
    would be taken for a platform. Spools leave before it, or a new project of the same name would get their rows.

    Raises:
        Unavailable: A server, gateway or worker works on it.
    """
    with nobody_else(settings):
        leaving = settings.state_dir / _LEAVING
        remove(leaving)  # of a time before
        leaving.mkdir(mode=0o700)
        for child in sorted(settings.state_dir.iterdir(), key=_when_it_leaves):
            if child.name not in (_LOCK, _LEAVING):
                child.rename(leaving / child.name)
        remove(leaving)
        if leaving.exists():
            leaving.rmdir()  # which says why it is still there


def _when_it_leaves(child: Path) -> tuple[bool, bool]:
    return not child.name.startswith("gateway-"), not child.is_file()


def find_running(settings: Settings) -> Place | None:
    """Return where the platform of a state folder answers; None where no server works on it."""
    return read_place(settings.server_file) if is_held(settings.state_dir / _LOCK) else None


def find_server(settings: Settings) -> str:
    """Return where the server of a state folder answers, also while it is started again; empty where there is none."""
    place = find_running(settings) or read_place(settings.server_file)
    if place is None:
        return ""
    is_kept_up = "server" in place.pids and place.pid and is_alive(place.pid)
    return place.url if is_kept_up or is_held(settings.state_dir / _LOCK) else ""


def no_server(settings: Settings, roles: tuple[str, ...]) -> Unavailable:
    """Return the error of processes that need a server, where none works on the state folder and none was named."""
    return Unavailable(
        f"no server works on this state folder that {' and '.join(roles)} could belong to",
        field="state_dir",
        value=str(settings.state_dir),
        next_step="set LOOPWRIGHT_URL to where the server is, name its state folder with --state, or start one there "
        "first: loopwright up --role server",
    )


def _owned(settings: Settings) -> Unavailable:
    place = read_place(settings.server_file)
    where = f"it serves at {place.url}; " if place else ""
    return Unavailable(
        "another server works on this state folder",
        field="state_dir",
        value=str(settings.state_dir),
        next_step=f"{where}use that one, stop it first, or name another folder with --state",
    )


def is_worked_on(state_dir: Path) -> bool:
    """Say whether a server, worker or gateway works on a state folder."""
    return any(is_held(lock) for lock in (state_dir / _LOCK, *state_dir.glob("*/lock")))


def read_place(server_file: Path) -> Place | None:
    """Return what a running platform has told of itself; None where it has not, or it cannot be read."""
    try:
        return msgspec.convert(json.loads(server_file.read_text()), Place)
    except (OSError, ValueError):
        return None


def find_dying(settings: Settings) -> dict[str, str]:
    """Return the roles of the platform that runs on a state folder whose processes keep dying, and how they did."""
    place = read_place(settings.server_file)
    return place.dying if place is not None and place.pid and is_alive(place.pid) else {}


def is_alive(pid: int) -> bool:
    """Say whether there is a process with this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True
