"""Asking the server what it knows now: whoever declared something a moment ago finds it at the gateway too."""

import asyncio
import time
from collections import Counter
from contextlib import suppress

from loopwright.gateway.releases.keeper import ReleaseKeeper
from loopwright.kernel.errors import LoopwrightError, Unavailable
from loopwright.wire.rates import neighbourhood

_REASK_S = 1.0
_ANSWER_S = 5.0
PROMPT_S = 1.0
"""How long strangers wait for the server's word; one that takes longer holds up nobody until it was prompt again."""
MOST_STRANGERS, MOST_NEIGHBOURS = 64, 8
"""How many of them wait at once, in all and at one address."""


class Inquiry:
    """One question at a time and at most one a second, for all who wait; an answer asked for before does not count.

    Args:
        keeper: Asks, and keeps what it hears.
    """

    def __init__(self, keeper: ReleaseKeeper) -> None:
        self._keeper = keeper
        self._asked_at = 0.0
        self._asking = asyncio.Lock()
        self._next_answer: asyncio.Future[None] | None = None
        self._is_prompt = True
        self._strangers: Counter[str] = Counter()

    async def ask(self) -> None:
        """Return once the server has said what it knows now.

        Raises:
            Unavailable: It takes too long.
            LoopwrightError: The server cannot be asked.
        """
        try:
            await asyncio.wait_for(asyncio.shield(self._answer()), _ANSWER_S)
        except TimeoutError:
            raise Unavailable("the server does not say what it knows", next_step="send it again") from None

    async def ask_for_stranger(self, client: str) -> bool:
        """Ask for whoever shows a token that nobody here knows; say whether it is settled what that is.

        It is not where the server says nothing in time, or where too many wait for that already. A server that cannot
        be asked says nothing either; what was known before is then all there is.

        Args:
            client: The address that asks.
        """
        answer = self._answer()
        place = neighbourhood(client)
        is_crowded = self._strangers.total() >= MOST_STRANGERS or self._strangers[place] >= MOST_NEIGHBOURS
        if is_crowded or not self._is_prompt:
            return False
        self._strangers[place] += 1
        try:
            with suppress(LoopwrightError):
                await asyncio.wait_for(asyncio.shield(answer), _REASK_S + PROMPT_S)
        except TimeoutError:
            return False
        finally:
            self._strangers[place] -= 1
            self._strangers += Counter()  # forgets those of whom none waits
        return True

    def _answer(self) -> "asyncio.Future[None]":
        if self._next_answer is None or self._next_answer.done():  # done only where it was cancelled
            self._next_answer = asyncio.ensure_future(self._ask_server())
            self._next_answer.add_done_callback(_hear)
        return self._next_answer

    async def _ask_server(self) -> None:
        async with self._asking:
            await asyncio.sleep(self._asked_at + _REASK_S - time.monotonic())
            self._asked_at, self._next_answer = time.monotonic(), None
            loop = asyncio.get_running_loop()
            late = loop.call_later(PROMPT_S, self._note_late)
            try:
                await loop.run_in_executor(None, self._keeper.refresh)
            finally:
                late.cancel()
                self._is_prompt = time.monotonic() - self._asked_at < PROMPT_S

    def _note_late(self) -> None:
        self._is_prompt = False


def _hear(answer: "asyncio.Future[None]") -> None:
    """Take note of an error that nobody waits for any more."""
    if not answer.cancelled():
        answer.exception()
