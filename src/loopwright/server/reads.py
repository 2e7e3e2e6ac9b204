"""Who took which bytes or rows out of a project is part of the trail: one event for each token, ref and hour.

One for each read would let a reader fill the log, and a training that reads a thousand files again and again would wait
for a thousand commits each time. Within the hour the second read of the same bytes tells nobody more: who had them has
them. The event is written before the bytes go out. What gateways, workers and jobs read for the platform is not told:
jobs and releases are on record themselves.
"""

import logging
import time
from collections.abc import Callable

from loopwright.governance import Actor, BlobRead, Dispatcher
from loopwright.kernel.errors import LoopwrightError
from loopwright.kernel.events import Facts
from loopwright.kernel.verbs import Role
from loopwright.store.tx import Tx
from loopwright.wire.quiet import Quiet

QUIET_S = 3600.0
MOST_REMEMBERED = 65_536

log = logging.getLogger("loopwright.server")


class NotedReads:
    """Notes reads in the event log.

    Args:
        dispatcher: Writes the events.
        now_s: Monotonic seconds.
    """

    def __init__(self, dispatcher: Dispatcher, now_s: Callable[[], float] = time.monotonic) -> None:
        self._dispatcher = dispatcher
        self._quiet = Quiet(QUIET_S, MOST_REMEMBERED, now_s)

    def note_blob(self, actor: Actor, project: str, digest: str) -> None:
        """Write of a blob that is read, where an event is due."""
        self.note(actor, project, BlobRead(digest), f"{project}/blob:{digest}")

    def note(self, actor: Actor, project: str, facts: Facts, ref: str) -> None:
        """Write the event where one is due. What cannot be written, on a full disk, stands in the log of the server."""
        is_platform = actor.bounds is not None or actor.role_in(project) is Role.SERVICE
        what = (actor.token_id or actor.name, project, ref)
        if is_platform or not self._quiet.is_due(what):
            return

        def tell(tx: Tx) -> None:
            tx.emit(facts, ref)

        try:
            self._dispatcher.write(project, actor, tell)
            self._quiet.keep(what)
        except LoopwrightError as error:
            log.error("that %s read %s could not be noted: %s", actor.name, ref, error)
