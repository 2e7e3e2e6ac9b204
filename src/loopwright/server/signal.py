"""Waking up whoever waits for a commit, by topic, in threads and in the event loop."""

import asyncio
import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable

from loopwright.store.engine import Database

ANY = ""
"""The topic of everything that is told."""


class CommitSignal:
    """Counts what was committed by topic; threads and coroutines wait for the next of theirs.

    On PostgreSQL the other servers' commits count too, a moment later. Word of them may be lost with a connection, so
    waiters look again after their time-out.
    """

    def __init__(self, database: Database) -> None:
        self._counts: Counter[str] = Counter()
        self._condition = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        database.subscribe(self.announce)

    @property
    def waiting(self) -> int:
        """How many coroutines wait for news."""
        return sum(map(len, self._waiters.values()))

    def seen(self, topic: str = ANY) -> int:
        """Return how much was told of a topic, to wait for more."""
        return self._counts[topic]

    def wait(self, seen: int, timeout_s: float, topic: str = ANY) -> int:
        """Block until more than ``seen`` was told of a topic or the time is over; return how much was."""
        with self._condition:
            self._condition.wait_for(lambda: self._counts[topic] > seen, timeout_s)
            return self._counts[topic]

    async def wait_async(self, seen: int, timeout_s: float, topic: str = ANY) -> int:
        """Like ``wait``, without holding a thread."""
        self._loop = asyncio.get_running_loop()
        waiter = asyncio.Event()
        self._waiters[topic].add(waiter)
        try:
            if self._counts[topic] <= seen:
                await asyncio.wait_for(waiter.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            self._waiters[topic].discard(waiter)
        return self._counts[topic]

    def announce(self, topics: Iterable[str]) -> None:
        """Wake those who wait for one of these topics, and those who wait for any."""
        told = {*topics, ANY}
        with self._condition:
            self._counts.update(told)
            self._condition.notify_all()
        if any(self._waiters.get(topic) for topic in told):
            self._call_in_loop(told)

    def announce_end(self) -> None:
        """Wake everyone, whatever they wait for."""
        with self._condition:
            self._counts.update({*self._counts, *self._waiters, ANY})
            self._condition.notify_all()
        self._call_in_loop(set(self._waiters))

    def _call_in_loop(self, topics: set[str]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop closed just now; nobody waits any more
                self._loop.call_soon_threadsafe(self._wake, topics)

    def _wake(self, topics: set[str]) -> None:
        for topic in topics:
            for waiter in list(self._waiters[topic]):
                waiter.set()
