"""Renewing: a segment that the disk refused to flush is written again, into a new file that takes its place.

The kernel takes what it could not write for written from then on, so that another flush of the same file would succeed
for nothing. Its bytes can still be read, as long as they are in memory.
"""

import errno
import os
from pathlib import Path

from loopwright.store.blobs.local import sync_folder

ENDING = ".again"
"""Of a file that is to take a segment's place; one that lies there from another life was never finished."""


def renew(path: Path, body: bytes) -> None:
    """Put a segment's bytes into a new file in its place; return once they are on the disk under its name."""
    fresh = path.with_suffix(ENDING)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_whole(handle, body)
        os.fdatasync(handle)
    finally:
        os.close(handle)
    fresh.replace(path)
    sync_folder(path.parent)


def write_whole(handle: int, body: bytes) -> None:
    """Write with one ``write()``.

    Raises:
        OSError: The disk took a part of it, or nothing.
    """
    if os.write(handle, body) != len(body):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
