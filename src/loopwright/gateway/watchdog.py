"""The watchdog: sees that the event loop turns, and has the system end a gateway that does not.

The gateway's own code cannot be trusted to notice that it hangs. So a thread of the interpreter that needs no lock of
it (``faulthandler``) is told every second to wait again; left alone for half a minute it writes where every thread
stands, and ends the process. Fatal signals leave their trace in the same file. What was marked as running then is not
loaded into the gateway again.
"""

import asyncio
import faulthandler
import logging
import time
from pathlib import Path
from typing import IO

from loopwright.gateway.marks import Page
from loopwright.gateway.releases.bars import Bars

log = logging.getLogger("loopwright.gateway")
DEADMAN_S = 30.0
TURNING_S = 5.0
"""A loop that has not turned for so long is not told to be alive."""
_EVERY_S = 1.0


class Watchdog:
    """Watches one process.

    Args:
        root: The gateway's folder: the trace of a crash and the page of what runs are kept there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._turned_at = time.monotonic()
        self._trace: IO[str] | None = None
        self._is_stopped = False
        self.page = Page.at(root / "running.mark")

    def learn(self, bars: Bars) -> None:
        """Bar what ran when the gateway crashed last, if it did."""
        trace = self._root / "crash.trace"
        running, told = self.page.read(), trace.read_text(errors="replace") if trace.exists() else ""
        if told:
            how = told.splitlines()[0]
            kept = trace.replace(trace.with_suffix(".last"))
            log.error("the gateway has crashed (%s); the trace is in %s", how, kept)
            if running is not None:
                bars.bar_from_gateway(running.hex(), how)
        self.page.clear()

    def guard(self) -> None:
        """Have a crash of this process leave its trace from now on."""
        self._trace = (self._root / "crash.trace").open("w")
        faulthandler.enable(self._trace)

    def watch(self) -> None:
        """Begin to watch the running event loop."""
        self._turned_at = time.monotonic()
        if self._is_stopped:
            return
        if self._trace is not None:
            faulthandler.dump_traceback_later(DEADMAN_S, exit=True, file=self._trace)
        asyncio.get_running_loop().call_later(_EVERY_S, self.watch)

    @property
    def is_turning(self) -> bool:
        """True while the event loop turns."""
        return time.monotonic() - self._turned_at < TURNING_S

    def stop(self) -> None:
        """Let the process end in its own time."""
        self._is_stopped = True
        faulthandler.cancel_dump_traceback_later()
