"""Who answers queries: the event loop itself what is brief, few threads what takes longer.

Python runs one thread at a time, and SQLite lets go of it with every statement: between two threads a query of 0.1 ms
costs five times that in handing over. So what has been brief several times is answered where it was asked, under a
budget: what exceeds it is begun anew beside the loop, and its kind is not trusted for a while. In the threads short
queries follow one another; only while one of them takes long does another thread help out.
"""

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from loopwright.kernel.errors import Unavailable
from loopwright.server.mailbox import Mailbox, Slip
from loopwright.store.failures import OverBudget

PATIENCE_S = 0.01
"""How long a query waits without any other being taken up, before another thread helps out."""
BRIEF_S = 0.001
"""What takes less counts as brief."""
WAITED_S = 0.02
"""What holds up the event loop for so long is not brief, although it waited for the disk or for other processes."""
BUDGET_S = 0.002
"""How long a query may work in the event loop before it is begun anew beside it."""
TRIALS, MOST_CREDIT, COST = 5, 40, 10
"""A query that is brief earns a credit, one that is not costs ten; from five on the event loop answers its kind."""
DISTRUST_S = 10.0
"""How long a kind of query that took too long is left to the threads."""

Ask = Callable[[float | None], Any]
"""Asks, within a budget of seconds, or None for as long as it takes."""
_Asked = tuple[str, Ask, Slip]


class Readers:
    """Answers queries.

    Args:
        mailbox: Of the event loop that asks.
        steady: Threads that are always there.
        most: Threads there may be at once.
        may_answer_at_once: False where each query waits for another process, as for PostgreSQL.
    """

    def __init__(self, mailbox: Mailbox, *, steady: int, most: int, may_answer_at_once: bool) -> None:
        self._mailbox = mailbox
        self._steady, self._most = steady, most
        self._may_answer_at_once = may_answer_at_once
        self._queue: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._helpers = 0
        self._lock = threading.Lock()
        self._taken = 0
        self._is_looking = False
        self._credit: Counter[str] = Counter()
        self._distrusted_until: dict[str, float] = {}

    async def answer(self, name: str, ask: Ask, *, is_large: bool = False) -> Any:
        """Return the answer of a query of this name, from the event loop in which this is called or from a thread.

        Args:
            name: Of the query.
            ask: Asks.
            is_large: It was sent more than is looked through in no time, whatever others of its name were.
        """
        if self._may_answer_at_once and not is_large and self._credit[name] >= TRIALS:
            began_at, worked_s = time.perf_counter(), time.thread_time()
            try:
                return ask(BUDGET_S)
            except OverBudget:
                self._distrust(name)
            finally:
                waited_s = time.perf_counter() - began_at
                self._learn(name, waited_s if waited_s > WAITED_S else time.thread_time() - worked_s)
        slip = self._mailbox.slip()
        self._submit((name, ask, slip))
        return await slip.waiting

    def close(self) -> None:
        """End the threads once they have answered what they are at; what waits is refused."""
        with contextlib.suppress(queue.Empty):
            while (asked := self._queue.get_nowait()) is not None:
                asked[2].set_exception(Unavailable("the server stops", next_step="start the server again"))
        for _ in self._threads:
            self._queue.put(None)

    def _distrust(self, name: str) -> None:
        self._credit[name] = 0
        self._distrusted_until[name] = time.monotonic() + DISTRUST_S

    def _submit(self, asked: _Asked) -> None:
        if len(self._threads) < self._steady:
            self._threads.append(threading.Thread(target=self._serve, name="loopwright-reader", daemon=True))
            self._threads[-1].start()
        self._queue.put(asked)
        if not self._is_looking:
            self._look_later()

    def _serve(self) -> None:
        while (asked := self._queue.get()) is not None:
            self._answer(*asked)

    def _help(self) -> None:
        with contextlib.suppress(queue.Empty):
            while (asked := self._queue.get_nowait()) is not None:
                self._answer(*asked)
            self._queue.put(None)  # it was meant for a steady one
        with self._lock:
            self._helpers -= 1

    def _answer(self, name: str, ask: Ask, slip: Slip) -> None:
        self._taken += 1
        started = time.thread_time()  # of this thread alone: what others took meanwhile says nothing about the query
        try:
            answer = ask(None)
        except Exception as error:  # noqa: BLE001 - whatever a query raises is its caller's
            slip.set_exception(error)
        else:
            slip.set_result(answer)
        self._learn(name, time.thread_time() - started)

    def _learn(self, name: str, took_s: float) -> None:
        if took_s > BRIEF_S:
            self._credit[name] = max(0, self._credit[name] - COST)
        elif self._credit[name] < MOST_CREDIT and time.monotonic() > self._distrusted_until.get(name, 0.0):
            self._credit[name] += 1

    def _look_later(self) -> None:
        self._is_looking = True
        self._mailbox.loop.call_later(PATIENCE_S, self._look, self._taken)

    def _look(self, taken: int) -> None:
        """Have another thread help out if some wait and none was taken up since ``taken``."""
        self._is_looking = False
        if self._queue.empty():
            return
        with self._lock:
            needs_help = self._taken == taken and self._steady + self._helpers < self._most
            self._helpers += needs_help
        if needs_help:
            threading.Thread(target=self._help, name="loopwright-reader", daemon=True).start()
        self._look_later()
