"""What of the walls around user code does not hold on this machine, said before any of it runs."""

from loopwright.config import Walls
from loopwright.kernel.errors import Unavailable
from loopwright.wire import system_calls, walls

NO_FILTER = (
    "no system calls are filtered here, which takes seccomp on x86-64 or ARM64: user code can slow down, starve and so "
    "end the platform's processes, though not open their files"
)


def check_walls(mode: Walls) -> str:
    """Return what does not hold, in a sentence for the log and the terminal; empty where walls are raised.

    Raises:
        Unavailable: Walls are to be strict, and this kernel has none.
    """
    version, can_filter = walls.landlock_version(), system_calls.can_filter()
    if mode == "off":
        return "walls are off: user code reads and writes what this user can, the platform's tokens and database too"
    if version and can_filter:
        return ""
    if mode == "strict":
        missing = (
            "no system calls are filtered, which takes seccomp on x86-64 or ARM64"
            if version
            else "this kernel has no Landlock"
        )
        raise Unavailable(
            f"strict walls cannot be raised here: {missing}",
            field="LOOPWRIGHT_WALLS",
            value=mode,
            next_step="run the worker where loopwright doctor finds walls; on or off for code that you trust",
        )
    if version:
        return NO_FILTER
    return (
        "this kernel has no Landlock, so no walls stand around user code: it reads and writes what this user can, "
        "the platform's tokens and database too"
    )
