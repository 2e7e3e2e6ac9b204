"""The last lines of a log, which may be of any size."""

import os
from pathlib import Path

MOST_BYTES = 1 << 20
"""No more than this is read of a log."""


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of a file that are not empty, as far as they lie in its last mebibyte."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MOST_BYTES))
        lines = file.read(MOST_BYTES).decode(errors="replace").splitlines()
    whole = lines[1:] if size > MOST_BYTES and len(lines) > 1 else lines
    return [line for line in whole if line.strip()][-count:]
