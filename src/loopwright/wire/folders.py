"""Folders that one process at a time may work on: the lock in them says so."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from loopwright.kernel.errors import Unavailable
from loopwright.store.unwritable import unwritable_state

_TRIES = 100
_LOOK_AGAIN_S = 0.02
_LOOK_LASTS_S = 5.0
"""How long one who only looks may be in the way before it counts as work; it takes microseconds, but may be paused."""


@contextmanager
def hold_folder(lock: Path, wait_s: float, taken: Callable[[], Unavailable]) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is missing; the lock ends with the process at the latest.

    Args:
        lock: The lock's file in the folder.
        wait_s: How long to wait for another process to let go, seconds; for one who only looks it waits in any case.
        taken: Makes the error that is raised if it does not.

    Raises:
        Unavailable: Another process holds it, or the folder cannot be written.
        StorageFull: Its disk is full.
    """
    deadline = time.monotonic() + wait_s
    file = _open(lock)
    try:
        while not (_is_granted(file, fcntl.LOCK_EX) and _is_at(file, lock)):
            late_s = time.monotonic() - deadline
            if late_s > 0 and (late_s > _LOOK_LASTS_S or not _is_granted(file, fcntl.LOCK_SH)):
                raise taken()
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(_LOOK_AGAIN_S)
            if not _is_at(file, lock):  # the folder was deleted meanwhile, with the lock in it
                file.close()
                file = _open(lock)
        yield
    finally:
        file.close()


def is_held(lock: Path) -> bool:
    """Say whether a process holds the lock; of one that is not there, or cannot be read, none does."""
    try:
        with lock.open() as file:
            return not _is_granted(file, fcntl.LOCK_SH)
    except OSError:
        return False


def _open(lock: Path, tries: int = _TRIES) -> IO[str]:
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return lock.open("a+")
    except OSError as error:
        if tries > 1 and isinstance(error, FileNotFoundError | FileExistsError):  # it goes while it is made
            return _open(lock, tries - 1)
        raise unwritable_state(error, lock.parent) from None


def _is_at(file: IO[str], path: Path) -> bool:
    """Say whether a path still names an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _is_granted(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
