"""One server a state folder: the lock that says so, and where the server that holds it answers."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loopwright.config import Settings
from loopwright.kernel.errors import Unavailable

_LOCK = "server.lock"


class Place(msgspec.Struct, frozen=True):
    """Where a running platform answers, and the process id of each role that runs there."""

    url: str
    gateway_url: str
    pids: dict[str, int]


@contextmanager
def sole_owner(settings: Settings) -> Iterator[None]:
    """Hold the lock of a state folder, so that two servers never write one file.

    Raises:
        Unavailable: Another process holds it, or the folder cannot be written.
    """
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (settings.state_dir / _LOCK).open("a+")
    except OSError as error:
        raise Unavailable(
            "the state folder cannot be written",
            field="state_dir",
            value=f"{settings.state_dir}: {error.strerror}",
            next_step="check owner and permissions, or set LOOPWRIGHT_STATE",
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            place = _read_place(settings.server_file)
            where = f"it serves at {place.url}; " if place else ""
            raise Unavailable(
                "another server works on this state folder",
                field="state_dir",
                value=str(settings.state_dir),
                next_step=f"{where}use that one, stop it first, or name another folder with --state",
            ) from None
        yield


def refuse_if_owned(settings: Settings) -> None:
    """Refuse a state folder that a server works on.

    Raises:
        Unavailable: One does; says where it answers.
    """
    if (settings.state_dir / _LOCK).exists():
        with sole_owner(settings):
            pass


def find_running(settings: Settings) -> Place | None:
    """Return where the platform of a state folder answers; None where no server works on it."""
    try:
        refuse_if_owned(settings)
    except Unavailable:
        return _read_place(settings.server_file)
    return None


def _read_place(server_file: Path) -> Place | None:
    try:
        return msgspec.convert(json.loads(server_file.read_text()), Place)
    except (OSError, ValueError):
        return None
