"""Calls that were refused leave an event: who tried what is part of the trail, and no flood of them fills a disk."""

import logging
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from loopwright.governance import SYSTEM, Actor, CallDenied, Dispatcher, denials
from loopwright.kernel.errors import LoopwrightError, NotFound
from loopwright.store.tx import Tx
from loopwright.wire.denials import DenialFilter

_LONGEST = 128
"""Letters of a name that are kept; strangers name what they like."""

log = logging.getLogger("loopwright.server")


class Denials:
    """Notes refused calls in the event log, within bounds.

    Args:
        dispatcher: Writes the events.
        now_s: Monotonic seconds.
    """

    def __init__(self, dispatcher: Dispatcher, now_s: Callable[[], float] = time.monotonic) -> None:
        self._dispatcher = dispatcher
        self._filter = DenialFilter(now_s)

    def is_news(self, actor: Actor, verb: str, project: str) -> bool:
        """Say whether a refusal is to be noted, which counts it."""
        return self._filter.is_news(actor.name, verb, project)

    def is_news_of_stranger(self, client: str, verb: str) -> bool:
        """Say whether a refusal of a caller without a valid token is to be noted, which counts it."""
        return self._filter.is_news_of_stranger(client, verb)

    async def tell(self, actor: Actor, verb: str, project: str) -> None:
        """Note that an actor was refused, if that is news."""
        if self.is_news(actor, verb, project):
            await run_in_threadpool(self.note, actor, verb, project)

    async def tell_of_stranger(self, client: tuple[str, int] | None, verb: str, project: str) -> None:
        """Note that a caller without a valid token was refused, if that is news.

        Args:
            client: Address and port that the request came from; None where they are not known.
            verb: What was asked for.
            project: Where.
        """
        address = "" if client is None else client[0]
        if self.is_news_of_stranger(address, verb):
            stranger = Actor(denials.STRANGER, {}, client=address or None)
            await run_in_threadpool(self.note, stranger, verb, project)

    def note(self, actor: Actor, verb: str, project: str) -> None:
        """Write the event, into the project if there is one of that name, else above projects."""

        def tell(tx: Tx) -> None:
            tx.emit(CallDenied(verb[:_LONGEST], project[:_LONGEST], actor.client or ""), tx.ref("project", tx.project))

        try:
            try:
                self._dispatcher.write(project, actor, tell)
            except NotFound:
                self._dispatcher.write(SYSTEM, actor, tell)
        except LoopwrightError as error:
            log.warning("a refused call of %s by %s could not be noted: %s", verb, actor.name, error)
