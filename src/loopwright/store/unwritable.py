"""What is told of a folder in which something could not be written."""

import errno
from pathlib import Path

from loopwright.kernel.errors import LoopwrightError, StorageFull, Unavailable

HOW_TO_FREE = "free space (what df still counts after it was deleted: start worker and gateway again)"
"""The walls around user code hold files beside the state folder open: df shows their room no sooner."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_OURS = (errno.EACCES, errno.EROFS, errno.EPERM)
TAKES_NOTHING = (*_FULL, *_NOT_OURS, errno.EEXIST, errno.ENOTDIR)
"""Errors that tell of where was written, and not of who wrote."""


def tells_of_full_disk(error: BaseException) -> bool:
    """Say whether an error is one of a full disk: the system's, or that of a library which quotes it."""
    return getattr(error, "errno", None) in _FULL or any(f"(os error {number})" in str(error) for number in _FULL)


def full_disk(folder: Path) -> StorageFull:
    """Return what to tell of a folder whose disk is full."""
    return StorageFull(
        "the disk is full; nothing was written", value=str(folder), next_step=f"{HOW_TO_FREE}, then repeat"
    )


def unwritable(error: OSError, folder: Path) -> LoopwrightError:
    """Return what to tell of a folder."""
    if error.errno in _FULL:
        return full_disk(folder)
    if error.errno in _NOT_OURS:
        return Unavailable("this folder cannot be written", value=str(folder), next_step="check owner and permissions")
    return Unavailable("this folder cannot be used", value=f"{folder}: {error.strerror}", next_step="loopwright doctor")


def unwritable_state(error: OSError, folder: Path) -> LoopwrightError:
    """Return what to tell of a state folder."""
    if error.errno in _FULL:
        return unwritable(error, folder)
    return Unavailable(
        "the state folder cannot be written",
        field="state_dir",
        value=f"{folder}: {error.strerror}",
        next_step="check owner and permissions, or set LOOPWRIGHT_STATE",
    )
