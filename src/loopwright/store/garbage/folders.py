"""What no process needs of a state folder: broken-off uploads, killed workers' space, folders of deleted projects."""

import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from loopwright.store.garbage.types import Freed

UPLOADS, CHILDREN = "uploads", "children"


def sweep_folders(state_dir: Path, before_us: int, *, is_plan: bool = False) -> list[Freed]:
    """Remove what was last written before a moment and nobody holds; return what was or would be freed.

    A process names its scratch folders anew in each life and removes its own when it begins: what is left belongs to
    one that was killed and did not come back.

    Args:
        state_dir: The state folder of this machine.
        before_us: Wall time, microseconds UTC; longer ago than anything runs.
        is_plan: True to remove nothing.
    """
    uploads = [file for file in _entries(state_dir / UPLOADS) if _written_at(file) < before_us]
    children = [
        folder
        for worker in sorted(state_dir.glob("worker*"))
        for folder in _entries(worker / CHILDREN)
        if folder.is_dir() and _newest(folder) < before_us
    ]
    freed = [_measure("uploads that broke off", uploads), _measure("scratch space of workers", children)]
    for path in () if is_plan else (*uploads, *children):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return [each for each in freed if each.files]


def remove_projects(parents: Iterable[Path], gone: Collection[str]) -> list[Path]:
    """Remove the folders of deleted projects; return them. What cannot be removed is left for the next time.

    Args:
        parents: Folders that have one for each project, by its name.
        gone: Names of projects that were deleted.
    """
    found = [folder for parent in parents for folder in _entries(parent) if folder.name in gone and folder.is_dir()]
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _measure(what: str, paths: list[Path]) -> Freed:
    files = [file for path in paths for file in _files(path)]
    return Freed(what, len(files), sum(size for size, _ in files))


def _files(path: Path) -> Iterator[tuple[int, int]]:
    """Yield bytes and time (microseconds UTC) of the files of a folder, or of the file itself."""
    for file in path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]:
        try:
            state = file.lstat()
        except OSError:
            continue
        yield (0 if file.is_dir() else state.st_size), state.st_mtime_ns // 1000


def _newest(folder: Path) -> int:
    return max((at for _, at in _files(folder)), default=_written_at(folder))


def _written_at(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns // 1000
    except FileNotFoundError:
        return 0
