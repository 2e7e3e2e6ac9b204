"""What no process needs of a state folder: what broke off, what killed ones left, folders of deleted projects."""

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from loopwright.kernel.removing import remove
from loopwright.store.blobs.local import LocalBlobStore
from loopwright.store.garbage.types import Freed

UPLOADS, KEYS, TEMPORARY = "uploads", "keys", "tmp"
_TEMPORARY_ONCE = ("imports/*", "worker*/commands/*", "tmp????????")
"""Where workers of before had rows for a moment."""
COPIES = ("blob-copies", "blob-cache", "backup-copies")
"""Local copies of the blobs of an object store; who runs trims them. ``blob-cache`` was a worker's once."""


def sweep_folders(
    state_dir: Path,
    before_us: int,
    *,
    unused_before_us: int = 0,
    is_plan: bool = False,
) -> list[Freed]:
    """Remove what was last written before a moment and nobody holds; return what was or would be freed.

    Indexes of keys and copies of blobs are made again when they are needed.

    Args:
        state_dir: The state folder of this machine.
        before_us: Wall time, microseconds UTC; longer ago than anything runs.
        unused_before_us: The same for what is kept to be faster.
        is_plan: True to remove nothing.
    """
    uploads = [file for file in _entries(state_dir / UPLOADS) if _written_at(file) < before_us]
    temporary = [*_entries(state_dir / TEMPORARY), *(path for name in _TEMPORARY_ONCE for path in state_dir.glob(name))]
    temporary = [path for path in temporary if newest_in(path) < before_us]
    indexes = [file for project in _entries(state_dir / KEYS) for file in _entries(project)]
    unused = [file for file in indexes if _written_at(file) < unused_before_us]
    freed = [
        _measure("uploads that broke off", uploads),
        _measure("temporary files of processes that were killed", temporary),
        _measure("indexes of keys that no import used", unused),
        _sweep_copies(state_dir, unused_before_us, is_plan=is_plan),
    ]
    for path in () if is_plan else (*uploads, *temporary, *unused):
        remove(path)
    return [each for each in freed if each.files]


def _sweep_copies(state_dir: Path, before_us: int, *, is_plan: bool) -> Freed:
    """Remove copies of blobs that nobody asked for since a moment; a process that asks for one meanwhile keeps it."""
    copies = [LocalBlobStore(str(state_dir / name)) for name in COPIES if (state_dir / name).is_dir()]
    old = [
        (store, ref) for store in copies for ref in store.inventory() if _written_at(store.path(ref.digest)) < before_us
    ]
    if not is_plan:
        old = [(store, ref) for store, known in old for ref in store.sweep([known.digest], before_us)]
    return Freed("copies of blobs that nobody read", len(old), sum(ref.size_bytes for _, ref in old))


def measure(what: str, folders: Iterable[Path]) -> Freed:
    """Return how many files there are in some folders, and their bytes."""
    return _measure(what, [path for folder in folders for path in _entries(folder)])


def remove_projects(parents: Iterable[Path], gone: Collection[str]) -> list[Path]:
    """Remove the folders of deleted projects; return them. What cannot be removed is left for the next time.

    Args:
        parents: Folders that have one for each project, by its name.
        gone: Names of projects that were deleted.
    """
    found = [folder for parent in parents for folder in _entries(parent) if folder.name in gone and folder.is_dir()]
    for folder in found:
        remove(folder)
    return found


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _measure(what: str, paths: list[Path]) -> Freed:
    files = [file for path in paths for file in _files(path)]
    return Freed(what, len(files), sum(size for size, _ in files))


def _files(path: Path) -> Iterator[tuple[int, int]]:
    """Yield bytes and time (microseconds UTC) of what is in a folder, as deep as names reach, or of the file itself."""
    waiting = [str(path)]
    while waiting:
        file = waiting.pop()
        try:
            state = os.lstat(file)
            is_folder = stat.S_ISDIR(state.st_mode)
            waiting += [f"{file}/{name}" for name in os.listdir(file)] if is_folder else []
        except OSError:
            continue
        if not is_folder or file != str(path):
            yield (0 if is_folder else state.st_size), state.st_mtime_ns // 1000


def newest_in(folder: Path) -> int:
    """Return when something in a folder was last written, microseconds UTC."""
    return max((at for _, at in _files(folder)), default=_written_at(folder))


def _written_at(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns // 1000
    except FileNotFoundError:
        return 0
