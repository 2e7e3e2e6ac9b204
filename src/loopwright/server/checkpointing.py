"""Every server signs, now and then, how far the event log has come, into a place that the database does not hold.

Every one and not a leader: two that sign the same position write the same word twice, and servers of several machines
keep it in as many places where nobody named one for all.
"""

import logging
import threading
import time
from collections.abc import Callable

from loopwright.governance import (
    MISSING_EVENTS,
    SERVICE_ACTOR,
    SYSTEM,
    Checkpoints,
    CheckpointsBegun,
    Dispatcher,
    Pacemaker,
)
from loopwright.kernel.errors import LoopwrightError
from loopwright.server.loops import Loops
from loopwright.store import sealing
from loopwright.store.tx import Tx

LOOK_EVERY_S = 5.0
TELL_EVERY_S = 600.0
"""How often a place that cannot be written is told of in the log."""

log = logging.getLogger("loopwright.checkpoints")


class Checkpointing:
    """Signs the log of one server's database, from its start to its end.

    Args:
        dispatcher: Of the database.
        checkpoints: Where to.
    """

    def __init__(self, dispatcher: Dispatcher, checkpoints: Checkpoints) -> None:
        self._dispatcher, self._checkpoints = dispatcher, checkpoints
        self._pacemaker = Pacemaker(checkpoints)
        self._loops = Loops(dispatcher.database, dispatcher.wall)
        self._told_at = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, name="loopwright-checkpoints", daemon=True)

    def start(self) -> None:
        """Sign from now on, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Sign once more, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def run(self) -> None:
        """Sign until told to stop, and once more then."""
        if not self._checkpoints.can_sign:
            log.warning("the event log is not signed: there is no service token and no LOOPWRIGHT_CHECKPOINT_KEY")
            return
        self._suffering(self._begin)
        while not self._stop.wait(LOOK_EVERY_S):
            self._suffering(self.keep_pace)
        self._suffering(lambda: self.keep_pace(is_last=True))

    def keep_pace(self, *, is_last: bool = False) -> bool:
        """Sign where it is due; say whether it was."""
        if is_last:
            self._dispatcher.database.seal()
        end = self._dispatcher.database.read(sealing.log_end)
        return self._pacemaker.keep_pace(end, self._dispatcher.wall.now_us(), is_last=is_last)

    def _begin(self) -> None:
        """Compare the log with what was signed last, so that one that was cut is told at once; sign if nothing was."""
        newest = self._checkpoints.newest()
        end = self._dispatcher.database.read(sealing.log_end)
        if newest is not None:
            chain = self._dispatcher.database.read(lambda connection: sealing.chain_at(connection, newest.position))
            if chain != newest.chain:
                log.error(
                    "the event log does not hold its newest checkpoint, position %s in %s: run loopwright verify",
                    newest.position,
                    self._checkpoints.where,
                )
        elif end is not None and end.position >= MISSING_EVENTS:
            self._tell_begun(end.position)
        self.keep_pace()

    def _tell_begun(self, position: int) -> None:
        """Record that nothing of a log was signed: an older version wrote it, or somebody cleared the place."""

        def tell(tx: Tx) -> None:
            facts = CheckpointsBegun(position, self._checkpoints.where)
            tx.emit(facts, tx.ref("project", SYSTEM), reason="no checkpoint was there")

        self._dispatcher.write(SYSTEM, SERVICE_ACTOR, tell)

    def _suffering(self, step: Callable[[], object]) -> None:
        """Run a step; of what fails there is a line in the log now and then, and the next step tries again."""
        try:
            with self._loops.told("signing the event log", is_own=True):
                step()
        except LoopwrightError as error:
            if time.monotonic() - self._told_at >= TELL_EVERY_S:
                self._told_at = time.monotonic()
                log.error("the event log could not be signed: %s", error)
