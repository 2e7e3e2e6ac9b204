"""Walls around user code: what its process may open and whom it may touch, as the kernel enforces it (Linux).

A process raises its own walls and cannot lower them again; what it starts lives behind them too. They hold whatever its
user is: root in a container as well as an ordinary account. Behind walls a process can neither trace nor signal one
outside, so that the memory and the environment of the worker are out of reach. Landlock keeps files, memory and
signals; what it lets pass is refused by a filter, see ``wire.system_calls``. Imports nothing but the standard library:
walls must stand before a thread of any other library runs. See docs/explanation/threat-model.md.
"""

import ctypes
import errno
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from loopwright.wire import system_calls

_T = TypeVar("_T")
_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers of the system calls; the same on every machine Linux runs on."""
_PATH_BENEATH = 1
_VERSION = 1
_NO_NEW_PRIVILEGES, _DROP_BOUND = 38, 24

_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_FILE = 1 << 5, 1 << 8
_MAKE_DEVICES = 1 << 6 | 1 << 11
_TRUNCATE, _DEVICE_CONTROL = 1 << 14, 1 << 15
_ALL_OF = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL = (1 << 16) - 1
"""Rights by version of Landlock: each later one handles more."""
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _DEVICE_CONTROL
_PLAIN = _WRITE | _READ | _LIST | _REMOVE_FILE | _MAKE_FILE | _TRUNCATE
"""Plain files in a folder, made there: no links, pipes, sockets and folders, and none that come from elsewhere."""
_SCOPED, WITH_SCOPES = 1 << 0 | 1 << 1, 6
"""No abstract sockets of, and no signals to, processes outside; Landlock knows of them from this version on."""


def landlock_version() -> int:
    """Return the version of Landlock that this kernel has; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE, None, 0, _VERSION)))


def raise_walls(walls: dict[str, Any]) -> list[str]:
    """Shut this process in, as far as the system can; return what holds.

    Args:
        walls: ``reads`` and ``writes`` are folders or files; ``plain`` folders in which plain files alone may be made,
            which others open too; ``hidden`` those inside them that are closed all the same;
            ``network`` False closes it; ``signals`` False refuses them to all others where the kernel cannot tell who
            is outside, to the process's own children too.

    Returns:
        Of ``files``, ``processes`` (no signals to those outside), ``calls`` (see ``wire.system_calls``), ``network``.

    Raises:
        OSError: The system has walls and refuses these.
        RuntimeError: A second thread runs already; walls would not stand around it.
    """
    if sys.platform != "linux":
        return []
    version, libc = landlock_version(), _libc()
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("walls must be raised before a second thread starts")
    _check(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    holds = []
    if version:
        _raise_landlock(libc, version, walls)
        holds = ["files", "processes"] if version >= WITH_SCOPES else ["files"]
    if os.geteuid() == 0:
        _drop_capabilities(libc)
    if system_calls.can_filter():
        signals = walls["signals"] or version >= WITH_SCOPES
        system_calls.refuse(system_calls.refused_to(os.getpid(), network=walls["network"], signals=signals))
        refused = {"calls": True, "network": not walls["network"], "processes": not signals}
        holds += [what for what, is_refused in refused.items() if is_refused]
    return holds


def _raise_landlock(libc: ctypes.CDLL, version: int, walls: dict[str, Any]) -> None:
    handled = _ALL_OF.get(version, _ALL)
    attributes = struct.pack("=QQQ", handled, 0, _SCOPED if version >= WITH_SCOPES else 0)
    size = 24 if version >= WITH_SCOPES else 16 if version >= 4 else 8
    ruleset = _check(libc.syscall(_CREATE, attributes, size, 0))
    try:
        hidden = [os.path.realpath(one) for one in walls["hidden"]]
        reading, writing = _EXECUTE | _READ | _LIST, handled & ~_MAKE_DEVICES
        kinds = {"reads": reading, "writes": writing, "plain": handled & _PLAIN}
        granted = [(place, rights) for kind, rights in kinds.items() for place in walls[kind]]
        opened = [(path, rights) for place, rights in granted for path in carve(os.path.realpath(place), hidden)]
        for path, rights in opened:
            _allow(libc, ruleset, path, rights)
        _check(libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


def do_within(folder: str, work: Callable[[], _T]) -> _T:
    """Do something in a thread of its own, which can make and write plain files in one folder and nothing elsewhere.

    So whatever code of a user left in that folder for who opens files there, a link say, leads to nothing outside of
    it. Where this system has no Landlock no walls stand around that code either. What was opened stays open.
    """
    answer: Future[_T] = Future()

    def shut_in() -> None:
        try:
            if version := landlock_version():
                libc = _libc()
                _check(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
                _raise_landlock(libc, version, {"reads": ["/"], "writes": [], "plain": [folder], "hidden": []})
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits is told of it
            answer.set_exception(error)

    threading.Thread(target=shut_in, name="within", daemon=True).start()
    return answer.result()


def carve(place: str, hidden: Iterable[str]) -> Iterator[str]:
    """Yield paths that together hold everything below ``place`` but what is hidden.

    Landlock knows no exceptions, so a folder above a hidden one is opened entry by entry; what is added to such a
    folder later stays closed. Links are left out: where they lead is open or closed by itself.
    """
    inside = [one for one in hidden if one == place or one.startswith(place.rstrip("/") + "/")]
    if place in inside:
        return
    if not inside:
        yield place
        return
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not entry.is_symlink():
            yield from carve(entry.path, inside)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there: nothing to open
    try:
        rights = rights if Path(path).is_dir() else rights & _OF_FILES
        rule = struct.pack("=Qi", rights, handle)
        if libc.syscall(_ADD, ruleset, _PATH_BENEATH, rule, 0) and ctypes.get_errno() != errno.EBADFD:
            _check(-1)
    finally:
        os.close(handle)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Leave root nothing but its name: no raw devices, no mounts, no way past permissions."""
    for number in range(64):
        libc.prctl(_DROP_BOUND, number, 0, 0, 0)
    header, none = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", 0, 0, 0, 0, 0, 0)
    _check(libc.capset(header, none))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
