"""What of the walls around user code does not hold on this machine, said before any of it runs."""

from loopwright.config import Walls
from loopwright.kernel.errors import Unavailable
from loopwright.wire import walls


def check_walls(mode: Walls) -> str:
    """Return what does not hold, in a sentence for the log and the terminal; empty where walls are raised.

    Raises:
        Unavailable: Walls are to be strict, and this kernel has none.
    """
    version = walls.landlock_version()
    if mode == "off":
        return "walls are off: user code reads and writes what this user can, the platform's tokens and database too"
    if version and not (mode == "strict" and not walls.can_close_network()):
        return ""
    if mode == "strict":
        missing = "this processor's network cannot be closed" if version else "this kernel has no Landlock"
        raise Unavailable(
            f"strict walls cannot be raised here: {missing}",
            field="LOOPWRIGHT_WALLS",
            value=mode,
            next_step="run the worker where loopwright doctor finds walls; on or off for code that you trust",
        )
    return (
        "this kernel has no Landlock, so no walls stand around user code: it reads and writes what this user can, "
        "the platform's tokens and database too"
    )
