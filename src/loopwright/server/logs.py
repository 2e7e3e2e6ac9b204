"""Logs of processes: their last lines, and that none grows for ever."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

MOST_BYTES = 1 << 20
"""No more than this is read of a log."""
LONGEST_BYTES = 32 << 20
"""A log that is longer is begun anew."""


def older_part(log: Path) -> Path:
    """Return where that is kept which a log held before it was begun anew."""
    return log.with_suffix(".log.1")


def begin_anew(log: Path) -> None:
    """Empty a log once it is long, and keep what it held in the place of what was kept before.

    Processes go on writing to the file they have open, and always at its end. What they write in the microseconds
    between its last byte's copy and its emptying is lost. On a full disk it stays as it is.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size <= LONGEST_BYTES:
            return
        with log.open("r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # processes of two platforms may share it
            if os.fstat(held.fileno()).st_size <= LONGEST_BYTES:
                return
            _keep(held, older_part(log))
            held.truncate(0)


def _keep(held: IO[bytes], place: Path) -> None:
    """Copy an open file to its place, whole or not at all."""
    draft = place.with_suffix(".tmp")
    try:
        with draft.open("wb") as kept:
            shutil.copyfileobj(held, kept)
        draft.replace(place)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def last_lines(log: Path, count: int, begin: int = 0) -> list[str]:
    """Return the last lines of a file that are not empty, as far as they lie in its last mebibyte.

    Args:
        log: The file.
        count: How many lines.
        begin: The byte from which on they are wanted; of a file that has begun anew since, all are.
    """
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = begin if begin <= size else 0
        start = file.seek(max(begin, size - MOST_BYTES))
        lines = file.read(MOST_BYTES).decode(errors="replace").splitlines()
    whole = lines[1:] if start > begin and len(lines) > 1 else lines
    return [line for line in whole if line.strip()][-count:]
