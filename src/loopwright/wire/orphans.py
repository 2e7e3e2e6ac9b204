"""Processes whose parent has ended: what user code started and let go of is brought home, and ended with its work.

A process that begins a session of its own is in no group that could be killed with the one that started it. Where Linux
is told so, it becomes a child of ours when its parent ends.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_SUBREAPER = 36
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_ROUNDS = 100
"""So often we look again for what those that were killed had started."""
LOCK = threading.RLock()
"""Held while a child of our own is born: until its number is known it looks like an orphan."""
_state = {"adopts": False}


def adopt() -> bool:
    """Have orphans become children of this process from now on; False where the system cannot."""
    with suppress(OSError, AttributeError):
        _state["adopts"] = sys.platform == "linux" and ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0) == 0
    return _state["adopts"]


def now_s() -> float:
    """Return seconds since the machine began, the clock by which processes begin."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def end_orphans(known: Collection[int], before_s: float = float("inf")) -> None:
    """Kill and bury every child of this process that it does not know.

    Args:
        known: Numbers of its own children; whoever has a child or lets one go holds ``LOCK`` meanwhile.
        before_s: Leave those that began later than that, see ``now_s``.
    """
    for _ in range(_ROUNDS if _state["adopts"] else 0):
        with LOCK:
            found = [pid for pid in _children() if pid not in known and _began_s(pid) < before_s]
            for pid in found:
                _bury(pid)
        if not found:
            return


def _bury(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _children() -> list[int]:
    """Return the number of every child of this process, whichever of its threads has it."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


def _began_s(pid: int) -> float:
    """Return when a child began, by the clock of ``now_s``."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]) * _TICK_S
    return 0.0
