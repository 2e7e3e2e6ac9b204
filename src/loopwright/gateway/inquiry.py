"""Asking the server what it knows now: whoever declared something a moment ago finds it at the gateway too."""

import asyncio
import time
from contextlib import suppress

from loopwright.gateway.releases import ReleaseKeeper
from loopwright.kernel.errors import LoopwrightError, Unavailable

_REASK_S = 1.0
_ANSWER_S = 5.0


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

    async def ask(self) -> None:
        """Return once the server has said what it knows now.

        Raises:
            Unavailable: It takes too long.
            LoopwrightError: The server cannot be asked.
        """
        if self._next_answer is None:
            self._next_answer = asyncio.ensure_future(self._ask_server())
        try:
            await asyncio.wait_for(asyncio.shield(self._next_answer), _ANSWER_S)
        except TimeoutError:
            raise Unavailable("the server does not say what it knows", next_step="send it again") from None

    async def try_to_ask(self) -> None:
        """Ask; where the server does not answer, what was known before is all there is."""
        with suppress(LoopwrightError):
            await self.ask()

    async def _ask_server(self) -> None:
        async with self._asking:
            await asyncio.sleep(self._asked_at + _REASK_S - time.monotonic())
            self._asked_at, self._next_answer = time.monotonic(), None
            await asyncio.get_running_loop().run_in_executor(None, self._keeper.refresh)
