"""Answers that other threads have for the event loop: however many there are, it is woken once."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any


class Slip:
    """The promise of one answer: another thread keeps it as it would a ``concurrent.futures.Future``."""

    __slots__ = ("_is_kept", "_mailbox", "waiting")

    def __init__(self, mailbox: "Mailbox", waiting: "asyncio.Future[Any]") -> None:
        self._mailbox = mailbox
        self._is_kept = False
        self.waiting = waiting

    def set_running_or_notify_cancel(self) -> bool:
        """Say whether anybody still waits for the answer."""
        return not self.waiting.cancelled()

    def done(self) -> bool:
        """Say whether there is an answer."""
        return self._is_kept

    def set_result(self, result: Any) -> None:
        """Answer."""
        self._is_kept = True
        self._mailbox.put(self.waiting, result, None)

    def set_exception(self, error: BaseException) -> None:
        """Answer with an error."""
        self._is_kept = True
        self._mailbox.put(self.waiting, None, error)


class Mailbox:
    """Takes answers from threads and hands them out in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._answers: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_called = False

    def slip(self) -> Slip:
        """Return the promise of an answer; who wants it awaits its ``waiting``."""
        return Slip(self, self.loop.create_future())

    def put(self, waiting: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        """Leave an answer, from any thread."""
        self._answers.append((waiting, result, error))
        if not self._is_called:
            self._is_called = True
            with suppress(RuntimeError):  # where the loop has ended nobody waits any more
                self.loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        self._is_called = False  # before the first is taken: what is put from now on calls again
        while self._answers:
            waiting, result, error = self._answers.popleft()
            if waiting.done():  # nobody waits any more
                continue
            if error is None:
                waiting.set_result(result)
            else:
                waiting.set_exception(error)
