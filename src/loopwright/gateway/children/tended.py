"""A child that is tended: asked under a budget, stopped when it is silent for too long, and started again.

What it was asked and has not answered goes to the next one, once.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.features import online
from loopwright.gateway.children.child import Child, End
from loopwright.gateway.children.duty import Duty
from loopwright.gateway.children.messages import FromChild, Loaded, Message, Settle, Settled
from loopwright.gateway.children.nursery import Nursery
from loopwright.gateway.pauses import ChildCrashed, TookTooLong
from loopwright.kernel.errors import LoopwrightError, error_from_dict

log = logging.getLogger("loopwright.gateway")
START_S = 60.0
"""How long a child may take until it is ready."""
IDLE_S = 30.0
"""How long a child stays that is only needed now and then."""
_LONGEST_DELAY_S = 30.0
_BRIEF_S = 5.0
_TRIES = 2


@dataclass
class Pending:
    """A question under way."""

    message: Message
    done: "asyncio.Future[Any]"
    timer: asyncio.TimerHandle
    tries: int = 1


class Tended:
    """One child after another for one duty. Lives in the event loop.

    Args:
        name: What it is for, in words.
        nursery: Where children come from.
        budget_s: How long one question may take.
        duty: What it does.
        first_look_s: When a child at work is looked after first; the budget where none is given.
    """

    def __init__(
        self, name: str, nursery: Nursery, budget_s: float, duty: Duty, first_look_s: float | None = None
    ) -> None:
        self.name, self.budget_s = name, budget_s
        self.failure = ""
        self._cannot_start: Exception | None = None
        self._nursery, self._duty = nursery, duty
        self._first_look_s = budget_s if first_look_s is None else first_look_s
        self._is_resident = True
        self._loop = asyncio.get_running_loop()
        self._child: Child | None = None
        self._loading: asyncio.Future[Loaded] | None = None
        self._coming_back: asyncio.Task[None] | None = None
        self._number = 0
        self._pending: dict[int, Pending] = {}
        self._settling: dict[int, asyncio.Future[None]] = {}
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._delay_s = self._started_at = 0.0
        self._is_closed = False

    @property
    def under_way(self) -> Mapping[int, Pending]:
        """The questions that are not answered yet, by their numbers."""
        return self._pending

    @property
    def mark(self) -> bytes | None:
        """What the child is at work on, as it has marked; None where there is none or it marked nothing."""
        return None if self._child is None else self._child.mark

    async def begin(self, hello: Message) -> Loaded:
        """Start a child and wait until it is ready.

        Raises:
            ChildCrashed: It ended, or hung.
            LoopwrightError: What keeps it from being ready.
            Unavailable: There is no process to be had.
        """
        self._loading = self._loop.create_future()
        child = await Child.start(self._nursery, self._on_message, self._on_end)
        child.send(hello)
        try:
            loaded = await asyncio.wait_for(asyncio.shield(self._loading), START_S)
        except TimeoutError:
            child.stop(f"took longer than {START_S:g} s and was stopped")
            loaded = await self._loading
        finally:
            self._loading = None
        if loaded.why_not is not None:
            child.close()
            raise error_from_dict(loaded.why_not)
        if self._is_closed:
            child.close()
        else:
            self._child, self._started_at = child, self._loop.time()
            self._rest()
        return loaded

    def next_number(self) -> int:
        """Return the number of the next message."""
        self._number += 1
        return self._number

    def put(self, message: Message) -> "asyncio.Future[Any]":
        """Hand a message to the child; the future ends with the answer, or with why there is none."""
        done: asyncio.Future[Any] = self._loop.create_future()
        if self._child is None and self._coming_back is None:
            self._coming_back = self._loop.create_task(self._come_back())
        if self._child is None and self._delay_s > 1:
            done.set_exception(self._refusal(self.failure or "its process starts again", self._cannot_start))
            return done
        timer = self._loop.call_later(self.budget_s, self._on_late, message.number)
        self._pending[message.number] = Pending(message, done, timer)
        self.send(message)
        return done

    async def settle(self) -> None:
        """Return once the child owes nothing, or has ended."""
        if self._child is None or not (self._pending or self._duty.owes()):
            return
        number = self.next_number()
        done = self._settling[number] = self._loop.create_future()
        self._child.send(Settle(number))
        await done

    def end_when_idle(self) -> None:
        """Keep a child only as long as it has something to do."""
        self._is_resident = False
        self._rest()

    def retire(self) -> None:
        """End the child when it has answered what is under way."""
        self._is_closed = True
        self._rest()

    def close(self) -> None:
        """End the child now."""
        self._is_closed = True
        for handle in (self._watch, self._idle):
            if handle is not None:
                handle.cancel()
        if self._coming_back is not None:
            self._coming_back.cancel()
        if self._child is not None:
            self._child.close()
            self._child = None
        self._fail_all("this gateway stops")

    def send(self, message: Message) -> None:
        """Send a message to the child, which has work then; where there is none, nobody hears it."""
        if self._child is None:
            return
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._watch is None:
            self._heard_at = self._loop.time()
            self._watch = self._loop.call_later(self._first_look_s, self._on_watch)
        for ahead in self._duty.ahead_of(message):
            self._child.send(ahead)
        self._child.send(message)

    def take_off(self, number: int) -> Pending | None:
        """Return what an answer belongs to, which is not under way any more; None where nobody knows."""
        pending = self._pending.pop(number, None)
        if pending is not None:
            pending.timer.cancel()
        return pending

    def _on_message(self, message: FromChild) -> None:
        self._heard_at = self._loop.time()
        if isinstance(message, Loaded):
            if self._loading is not None and not self._loading.done():
                self._loading.set_result(message)
        elif isinstance(message, Settled):
            if (done := self._settling.pop(message.number, None)) is not None:
                done.set_result(None)
        else:
            self._duty.receive(message)
        self._rest()

    def _rest(self) -> None:
        """End a child that is not needed any more, at once or when it has been idle for long enough."""
        if self._pending or self._duty.owes() or self._child is None:
            return
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._is_closed:
            self.close()
        elif not self._is_resident and self._idle is None:
            self._idle = self._loop.call_later(IDLE_S, self._on_idle)

    def _on_idle(self) -> None:
        self._idle = None
        if self._child is not None and not self._pending and not self._duty.owes():
            self._child.close()
            self._child = None

    def _on_late(self, number: int) -> None:
        pending = self._pending.get(number)
        if pending is not None and not pending.done.done():
            pending.done.set_exception(
                TookTooLong(
                    f"{self.name} did not answer in time",
                    rule=f"an answer within {self.budget_s:g} s",
                    next_step="send fewer rows at a time, or raise the deployment's timeout",
                )
            )

    def _on_watch(self) -> None:
        """Stop a child that has said nothing for as long as a question may take, although it has work."""
        silent_s = self._loop.time() - self._heard_at
        self._watch = None
        if self._child is None or not (self._pending or self._duty.owes()):
            return
        patience_s = self._duty.patience_s(self.budget_s)
        if silent_s < patience_s:
            self._watch = self._loop.call_later(patience_s - silent_s, self._on_watch)
            return
        self._child.stop(f"took longer than {patience_s:g} s and was stopped")

    def _on_end(self, child: Child, end: End) -> None:
        if self._loading is not None:
            if not self._loading.done():
                self._loading.set_exception(ChildCrashed(end.how, end.mark, is_own_fault=end.is_own_fault))
            return
        if child is not self._child:
            return
        self._child = None
        self._duty.blame(end)
        for number, pending in list(self._pending.items()):
            pending.tries += 1
            if pending.tries > _TRIES:
                self._fail(number, f"its process {end.how}")
        lived_s = self._loop.time() - self._started_at
        self._delay_s = min(max(2 * self._delay_s, 0.25), _LONGEST_DELAY_S) if lived_s < _BRIEF_S else 0.0
        for done in self._settling.values():
            done.set_result(None)
        self._settling.clear()
        if self._coming_back is None and (
            self._pending or self._duty.owes() or (self._is_resident and not self._is_closed)
        ):
            self._coming_back = self._loop.create_task(self._come_back())

    async def _come_back(self) -> None:
        """Start the next child and hand it what was under way."""
        try:
            await asyncio.sleep(self._delay_s)
            await self.begin(await self._duty.hello())
        except Exception as error:
            self._delay_s = min(max(2 * self._delay_s, 0.5), _LONGEST_DELAY_S)
            self.failure, self._cannot_start = str(error), error
            unforeseen = None if isinstance(error, LoopwrightError) else error
            log.error("%s cannot be started again: %s", self.name, error, exc_info=unforeseen)
            self._fail_all(str(error), error)
        else:
            self.failure, self._cannot_start = "", None
        finally:
            self._coming_back = None
        if self._child is not None:
            for message in self._duty.messages_again([pending.message for pending in self._pending.values()]):
                self.send(message)

    def _fail_all(self, why: str, error: Exception | None = None) -> None:
        for number in list(self._pending):
            self._fail(number, why, error)

    def _fail(self, number: int, why: str, error: Exception | None = None) -> None:
        pending = self.take_off(number)
        if pending is not None and not pending.done.done():
            pending.done.set_exception(self._refusal(why, error))

    def _refusal(self, why: str, error: Exception | None) -> LoopwrightError:
        """Return what callers are told; where an online store is to blame, that says so too."""
        refusal = self._duty.refusal(why)
        if error is not None and online.is_of_store(error):
            refusal.details |= online.OF_STORE
        return refusal
