"""How much memory this process may use: all of the machine's, or what a container or a service is given of it."""

import os
from contextlib import suppress
from pathlib import Path

_CONTROL_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def memory_bytes(root: Path = _CONTROL_GROUPS, own: Path = _OWN) -> int:
    """Return the machine's memory, or the least limit of the control groups that this process is in.

    Args:
        root: Where the groups are.
        own: The file that names those of this process.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in _limit_files(root, own):
        with suppress(OSError, ValueError):  # there is none, or it says "max"
            limits.append(int(file.read_text()))
    return min(limits)


def _limit_files(root: Path, own: Path) -> list[Path]:
    """Return where limits may stand, of both versions of control groups: of each group and of those around it."""
    files: list[Path] = []
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
            inner = top / group.strip("/")
            files += [place / name for place in (inner, *inner.parents) if place.is_relative_to(top)]
    return files
