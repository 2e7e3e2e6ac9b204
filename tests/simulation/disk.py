"""Files with faults: a process dies between two calls, a write is cut short, the disk is full, the power goes.

What a process writes stays when it dies; when its machine loses power, only what was flushed stays for certain. Of what
was not, a part stays: the beginning of the changes to folders, in their order, and the beginning of what was written.
After a flush that failed no other of the same file helps: the kernel takes what it could not write for written.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.simulation.scheduler import Life, Simulation

_WRITES = os.O_WRONLY | os.O_RDWR


class Change(NamedTuple):
    """An entry of a folder that was changed and not flushed, and how to undo that."""

    folder: str
    undo: Callable[[], None]


class Disk:
    """Every file that strands open by ``os``, and what of it a power cut would leave."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._paths: dict[int, str] = {}
        self._lives: dict[int, Life] = {}
        self._flushed: dict[str, int] = {}
        """By file: how many bytes are on the disk for certain."""
        self._refused: set[str] = set()
        """Files of which a flush failed."""
        self._changes: list[Change] = []
        self._real: dict[str, Callable[..., Any]] = {}

    # --- what processes call ---

    def open(self, path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        """Open a file or a folder."""
        if not self._is_watched() or not flags & _WRITES:
            handle: int = self._real["open"](path, flags, mode, **rest)
            self._keep(handle, path)
            return handle
        is_new = not os.path.exists(path)
        self._may_fail("open" if is_new else "open of an old file", path)
        handle = self._real["open"](path, flags, mode, **rest)
        self._keep(handle, path)
        name = str(path)
        self._flushed.setdefault(name, 0 if is_new else os.path.getsize(name))
        if is_new:
            self._flushed[name] = 0
            self._refused.discard(name)
            self._note_change(name, lambda: os.path.exists(name) and self._real["unlink"](name))
        self._may_crash("after opening", path)
        return handle

    def close(self, handle: int) -> None:
        """Close a file."""
        self._lives.pop(handle, None)
        self._paths.pop(handle, None)
        self._real["close"](handle)

    def fdopen(self, handle: int, *rest: Any, **named: Any) -> Any:
        """Make a file of a handle, which is that file's to close from now on."""
        self._lives.pop(handle, None)
        return self._real["fdopen"](handle, *rest, **named)

    def write(self, handle: int, body: bytes) -> int:
        """Write; all, a part, or nothing."""
        path = self._paths.get(handle)
        if path is None or not self._is_watched():
            return int(self._real["write"](handle, body))
        self._may_fail("write", path)
        if self._simulation.draws("disk.short"):
            part = int(self._simulation.chance.random() * len(body))
            self._simulation.note(f"a write of {len(body)} bytes is cut after {part}")
            self._real["write"](handle, body[:part])
            self._may_crash("in a write to", path)
            return part
        written = int(self._real["write"](handle, body))
        self._may_crash("after a write to", path)
        return written

    def flush(self, name: str, handle: int) -> None:
        """Flush a file, or the entries of a folder."""
        path = self._paths.get(handle)
        if path is None or not self._is_watched():
            self._real[name](handle)
            return
        self._may_fail("sync", path)
        self._simulation.pause()
        if os.path.isdir(path):
            self._changes = [change for change in self._changes if change.folder != path]
        elif path not in self._refused:
            self._flushed[path] = os.fstat(handle).st_size
        self._may_crash("after flushing", path)

    def unlink(self, path: Any, **rest: Any) -> None:
        """Remove a file."""
        if not self._is_watched():
            self._real["unlink"](path, **rest)
            return
        self._may_crash("before removing", path)
        name, body = str(path), Path(path).read_bytes()
        self._real["unlink"](path, **rest)
        flushed = self._flushed.pop(name, len(body))
        self._note_change(name, lambda: self._bring_back(name, body, flushed))
        self._may_crash("after removing", path)

    def rename(self, name: str, path: Any, target: Any, **rest: Any) -> None:
        """Give a file another name."""
        if not self._is_watched():
            self._real[name](path, target, **rest)
            return
        self._may_crash("before renaming", path)
        before, after = str(path), str(target)
        replaced = (Path(after).read_bytes(), self._flushed.get(after, 0)) if os.path.isfile(after) else None
        self._real[name](path, target, **rest)
        if before in self._flushed:
            self._flushed[after] = self._flushed.pop(before)
        self._refused = {after if name == before else name for name in self._refused if name != after}
        self._note_change(after, lambda: self._name_back(before, after, replaced))
        self._may_crash("after renaming", path)

    def mkdir(self, path: Any, mode: int = 0o777, **rest: Any) -> None:
        """Make a folder."""
        self._real["mkdir"](path, mode, **rest)
        if self._is_watched():
            name = str(path)
            self._note_change(name, lambda: shutil.rmtree(name, ignore_errors=True))
            self._may_crash("after making", path)

    # --- what the director calls ---

    def cut_power(self, root: Path) -> None:
        """Take away what was not flushed below a folder, or a part of it."""
        chance = self._simulation.chance
        below = [change for change in self._changes if Path(change.folder).is_relative_to(root)]
        kept = chance.randint(0, len(below))
        for change in reversed(below[kept:]):
            change.undo()
        self._changes = [change for change in self._changes if change not in below]
        for name in sorted(name for name in self._flushed if Path(name).is_relative_to(root)):
            if not os.path.exists(name):
                del self._flushed[name]
                continue
            size = os.path.getsize(name)
            stays = chance.randint(min(self._flushed[name], size), size)
            os.truncate(name, stays)
            self._flushed[name] = stays
            self._refused.discard(name)
        self._simulation.note(f"of {len(below)} changes to folders {kept} stay")

    # --- inside ---

    def _is_watched(self) -> bool:
        if self._simulation.current is None:
            return False
        self._simulation.check_alive()
        return True

    def _keep(self, handle: int, path: Any) -> None:
        current = self._simulation.current
        if current is not None:
            self._paths[handle], self._lives[handle] = str(path), current.life
            current.life.on_death.append(lambda: self._end(handle, current.life))

    def _end(self, handle: int, life: Life) -> None:
        if self._lives.get(handle) is life:
            with suppress(OSError):
                self.close(handle)

    def _may_fail(self, what: str, path: Any) -> None:
        self._may_crash(f"before {what} of", path)
        if what in ("open", "write") and self._simulation.draws("disk.full"):
            self._simulation.note(f"the disk is full at {what} of {_short(path)}")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if what == "sync" and self._simulation.draws("disk.sync"):
            self._simulation.note(f"the disk does not confirm {_short(path)}")
            self._refused.add(str(path))
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _may_crash(self, where: str, path: Any) -> None:
        if self._simulation.draws("disk.crash"):
            self._simulation.crash(f"{where} {_short(path)}")

    def _note_change(self, name: str, undo: Callable[[], Any]) -> None:
        self._changes.append(Change(str(Path(name).parent), undo))

    def _name_back(self, before: str, after: str, replaced: tuple[bytes, int] | None) -> None:
        if os.path.exists(after):
            self._real["rename"](after, before)
        if replaced is not None:
            self._bring_back(after, *replaced)

    def _bring_back(self, name: str, body: bytes, flushed: int) -> None:
        Path(name).write_bytes(body)
        self._flushed[name] = flushed

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have ``os`` work on this disk."""
        stand_ins: dict[str, Callable[..., Any]] = {
            "open": self.open,
            "close": self.close,
            "write": self.write,
            "fdopen": self.fdopen,
            "fsync": lambda handle: self.flush("fsync", handle),
            "fdatasync": lambda handle: self.flush("fdatasync", handle),
            "unlink": self.unlink,
            "mkdir": self.mkdir,
            "rename": lambda path, target, **rest: self.rename("rename", path, target, **rest),
            "replace": lambda path, target, **rest: self.rename("replace", path, target, **rest),
        }
        self._real = {name: getattr(os, name) for name in stand_ins}
        try:
            for name, stand_in in stand_ins.items():
                setattr(os, name, stand_in)
            yield
        finally:
            for name, real in self._real.items():
                setattr(os, name, real)


def _short(path: Any) -> str:
    """Return the end of a path as the trace shows it: what chance named is left out."""
    name = Path(path).name
    return f"{Path(path).parent.name}/{name}" if name.endswith((".log", ".id", ".bad")) else "a file or folder"
