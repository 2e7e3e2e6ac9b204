"""Removing folders that somebody else filled. It stands here, for whoever starts processes loads no database for it."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as it can be removed; no link is followed.

    User code may leave folders in folders by the thousand, in which whoever goes down by calls runs out of stack or of
    handles: each folder's own are moved to the top before it goes.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with suppress(OSError):
        top = os.open(path, _FOLDER)
        try:
            stuck: set[str] = set()
            while left := [name for name in _without_files(top) if name not in stuck]:
                stuck.update(name for name in left if not _remove_inner(top, name))
        finally:
            os.close(top)
        path.rmdir()


def _without_files(folder: int) -> list[str]:
    """Remove the files of an open folder; return the names of its folders."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found.append(entry.name)
                continue
            with suppress(OSError):
                os.unlink(entry.name, dir_fd=folder)
    return found


def _remove_inner(top: int, name: str) -> bool:
    """Remove a folder of an open one, and move those that are in it there; False where it cannot be done."""
    try:
        inner = os.open(name, _FOLDER, dir_fd=top)
        try:
            for deeper in _without_files(inner):
                os.rename(deeper, f".{secrets.token_hex(16)}", src_dir_fd=inner, dst_dir_fd=top)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=top)
    except OSError:
        return False
    return True
