"""Waking up whoever waits for a commit, in threads and in the event loop."""

import asyncio
import contextlib
import threading

from loopwright.store.engine import Database


class CommitSignal:
    """Counts commits of this process; threads and coroutines wait for the next one.

    Commits of other servers on the same PostgreSQL are not seen: waiters look again after their time-out.
    """

    def __init__(self, database: Database) -> None:
        self.count = 0
        self._condition = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[asyncio.Event] = set()
        database.listeners.append(self.announce)

    @property
    def waiting(self) -> int:
        """How many coroutines wait for news."""
        return len(self._waiters)

    def wait(self, seen: int, timeout_s: float) -> int:
        """Block until the count passes ``seen`` or the time is over; return the count."""
        with self._condition:
            self._condition.wait_for(lambda: self.count > seen, timeout_s)
            return self.count

    async def wait_async(self, seen: int, timeout_s: float) -> int:
        """Like ``wait``, without holding a thread."""
        if self.count > seen:
            return self.count
        self._loop = asyncio.get_running_loop()
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        try:
            if self.count <= seen:
                await asyncio.wait_for(waiter.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            self._waiters.discard(waiter)
        return self.count

    def announce(self) -> None:
        """Wake everyone who waits."""
        with self._condition:
            self.count += 1
            self._condition.notify_all()
        if self._loop is not None and self._waiters and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop closed just now; nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for waiter in list(self._waiters):
            waiter.set()
