"""What a child process may open: its own folder, what it was handed, and what nobody minds."""

import contextlib
import fcntl
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from loopwright.config import Settings, Walls, closed_places, home_secrets
from loopwright.kernel.errors import Corrupt

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "shm")
_GRAPHICS = ("nvidia", "dri", "kfd", "infiniband")
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys/devices/system", "/sys/fs/cgroup")
_CLONE = 0x40049409
"""The call of Linux that makes a file of another's blocks."""


class Enclosure(msgspec.Struct, frozen=True):
    """How the children of a worker, or of a gateway, are shut in.

    Args:
        mode: ``on`` opens for reading whatever is not hidden; ``strict`` only the interpreter, the system's libraries
            and ``folders``, and closes the network.
        hidden: Files and folders that are closed to it all the same.
        folders: Where user code may write beside its own scratch space.
    """

    mode: Walls
    hidden: Sequence[Path] = ()
    folders: Sequence[Path] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Enclosure | None":
        """Return how user code is kept from everything of the platform, wherever it lies; None where walls are off."""
        if settings.walls == "off":
            return None
        return cls(settings.walls, closed_places(settings), settings.user_folders)

    def walls(self, reads: Sequence[Path], writes: Sequence[Path], plain: Sequence[Path] = ()) -> dict[str, Any]:
        """Return the walls of one child, see ``wire.walls.raise_walls``.

        Args:
            reads: What it is handed, its code among it.
            writes: Its own folders.
            plain: Folders that processes of the platform open files in too: it makes plain files there alone.
        """
        devices = _devices()
        own = [*map(str, [*reads, *writes, *plain, *self.folders])]
        opened = [*(_SYSTEM if self.mode == "strict" else ("/",)), *_interpreter(), *own, *devices]
        return {
            "reads": opened,
            "writes": [*map(str, [*writes, *self.folders]), *devices],
            "plain": [*map(str, plain)],
            "hidden": [*map(str, self._closed())],
            "network": self.mode != "strict",
            "signals": self.mode != "strict",
        }

    def walls_of_reader(self, roots: Sequence[Path], reads: Sequence[Path], writes: Sequence[Path]) -> dict[str, Any]:
        """Return the walls of a child that reads files of sources: whatever the mode, no network, and nothing else.

        What is hidden below a root stays open to it: walls would close what comes into such a folder later too. It asks
        of each file that it opens whether it may.
        """
        devices, real = _devices(), [root.resolve() for root in roots]
        hidden = [one for one in self._closed() if not any(one.resolve().is_relative_to(root) for root in real)]
        return {
            "reads": [*_SYSTEM, *_interpreter(), *map(str, [*roots, *reads, *writes]), *devices],
            "writes": [*map(str, writes), *devices],
            "plain": [],
            "hidden": [*map(str, hidden)],
            "network": False,
            "signals": False,
        }

    def walls_of_asker(self, file: Path | None, writes: Sequence[Path]) -> dict[str, Any]:
        """Return the walls of a child that asks a database.

        One that is a file lies in the only folder that is open then, for its engine writes beside it, without network.
        Others are asked over the network, with what their drivers read of the machine; the platform's own is closed.
        """
        if file is None:
            walls = self.walls([], writes)
            return {**walls, "reads": ["/", *walls["reads"]], "hidden": [*map(str, self.hidden)], "network": True}
        return self.walls_of_reader([file.parent], [], [*writes, file.parent])

    def _closed(self) -> list[Path]:
        homes = [path for path in home_secrets() if not any(Path(one).is_relative_to(path) for one in _interpreter())]
        return [*self.hidden, *homes]


def hand_in(path: Path, target: Path) -> str:
    """Copy a file to ``target``, in a child's folder of inputs, where it may read it; return that as text.

    Never a link: walls do not keep mode and times, and whoever changed those of a link would change those of the blob.
    Where the file system can, the copy shares its blocks and costs nothing.
    """
    if not target.exists():
        with path.open("rb") as source, target.open("xb") as made:
            try:
                fcntl.ioctl(made, _CLONE, source.fileno())
            except OSError:
                shutil.copyfile(path, target)
    return str(target)


@contextlib.contextmanager
def open_inside(folder: int, path: str, field: str) -> Iterator[Path]:
    """Open a file that a child wrote and yield a path to what was opened, whatever the child does to its name.

    Args:
        folder: Handle of the folder that the child was given.
        path: Relative to it; the child's word.
        field: What the file is, for errors.

    Raises:
        Corrupt: It is no plain file inside of the folder, or a link leads to it.
    """
    handles = [os.dup(folder)]
    try:
        parts = PurePosixPath(path).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise OSError
        for part in parts[:-1]:
            handles.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handles[-1]))
        handles.append(os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handles[-1]))
        if not stat.S_ISREG(os.fstat(handles[-1]).st_mode):
            raise OSError
        yield Path(f"/dev/fd/{handles[-1]}")
    except OSError:
        raise Corrupt("an output file is not where the step said", field=field) from None
    finally:
        for handle in handles:
            os.close(handle)


def _interpreter() -> list[str]:
    """Return where Python and what is installed for it lie; the working folder is no such place."""
    found = [sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[3]), *sys.path]
    return [one for one in dict.fromkeys(found) if one and Path(one).exists() and Path(one) != Path.cwd()]


def _devices() -> list[str]:
    found = [f"/dev/{name}" for name in _DEVICES]
    with contextlib.suppress(OSError), os.scandir("/dev") as entries:
        found += [entry.path for entry in entries if entry.name.startswith(_GRAPHICS)]
    return found
