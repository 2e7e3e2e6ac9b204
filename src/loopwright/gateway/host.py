"""A deployment's child over time: loaded and warmed, asked under a budget, stopped when it hangs, started again.

What hung or crashed is named by the page that the child marks: that variant is left alone for a while, longer each
time, and its rows are logged as errors, so that the guards of a rollout count them. Requests that were under way are
handed to the next child with the same stamp, and so with the same ids.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loopwright.gateway.children.child import Child, End
from loopwright.gateway.children.messages import (
    Answers,
    Ask,
    BatchUnpacker,
    FromChild,
    Load,
    Loaded,
    Owed,
    Reply,
    Settle,
)
from loopwright.gateway.children.nursery import Nursery
from loopwright.gateway.journal import Then
from loopwright.gateway.pauses import ChildCrashed, Pauses, TookTooLong
from loopwright.gateway.questions import Question
from loopwright.gateway.runtime import ModelPaused, champion_place
from loopwright.gateway.spool import Batch
from loopwright.gateway.stamps import Stamp
from loopwright.kernel.errors import LoopwrightError, error_from_dict
from loopwright.serving import Release

log = logging.getLogger("loopwright.gateway")
BUDGET_MS = 10_000
"""How long a request may take, from when it came, unless its deployment says otherwise (``limits.timeout_ms``)."""
START_S = 60.0
"""How long loading and warming a release may take."""
IDLE_S = 30.0
"""How long a child stays that is only needed for large requests."""
_LONGEST_DELAY_S = 30.0
_BRIEF_S = 5.0
_TRIES = 2
Keep = Callable[[Sequence[Batch], Then], None]


class Place(NamedTuple):
    """Where a child finds what it needs: the gateway's folder and the online store."""

    root: str
    online_url: str


@dataclass
class Pending:
    """A question under way."""

    ask: Ask
    done: "asyncio.Future[bytes]"
    timer: asyncio.TimerHandle
    tries: int = 1


class Host:
    """Has the questions to one release answered by a child. Lives in the event loop.

    Args:
        release: What the child loads.
        nursery: Where children come from.
        place: Where it finds files.
        keep: Puts rows of this deployment into the log.
        observe_batch: Told the rows of each batch.
    """

    def __init__(
        self, release: Release, nursery: Nursery, place: Place, keep: Keep, observe_batch: Callable[[int], None]
    ) -> None:
        self.release, self._is_resident = release, True
        self.budget_s = release.limits.get("timeout_ms", BUDGET_MS) / 1000
        self._nursery, self._place, self._keep, self._observe_batch = nursery, place, keep, observe_batch
        self._loop = asyncio.get_running_loop()
        self._child: Child | None = None
        self._loading: asyncio.Future[Loaded] | None = None
        self._coming_back: asyncio.Task[None] | None = None
        self._unpacker = BatchUnpacker()
        self._number = 0
        self._pending: dict[int, Pending] = {}
        self._owed: dict[int, Ask] = {}
        self._settling: dict[int, asyncio.Future[None]] = {}
        self._pauses = Pauses()
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._delay_s = self._started_at = 0.0
        self._failure = ""
        self._is_closed = False

    async def start(self, sample: Question | None = None) -> int:
        """Load and warm the release in a child; return how long a row takes it, in microseconds.

        Raises:
            ChildCrashed: The child ended, or hung.
            LoopwrightError: What keeps the release from being loaded.
            Unavailable: There is no process to be had.
        """
        self._loading = self._loop.create_future()
        self._unpacker = BatchUnpacker()
        child = await Child.start(self._nursery, self._on_message, self._on_end)
        child.send(Load(0, self.release, *self._place, sample))
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
        return loaded.row_us

    def ask(self, question: Question, stamp: Stamp) -> "asyncio.Future[bytes]":
        """Hand a question to the child; its future ends with the answer's body, or with why there is none.

        It ends with ``TookTooLong`` after the budget, and with ``ModelPaused`` where there is no child.
        """
        done: asyncio.Future[bytes] = self._loop.create_future()
        if self._child is None and self._coming_back is None:
            self._coming_back = self._loop.create_task(self._come_back())
        if self._child is None and self._delay_s > 1:
            done.set_exception(self._paused(self._failure or "its process starts again"))
            return done
        self._number += 1
        number = self._number
        ask = Ask(number, question, stamp.base.to_bytes(16), stamp.at_us, self._pauses.down(self._loop.time()))
        timer = self._loop.call_later(self.budget_s, self._on_late, number)
        self._pending[number] = Pending(ask, done, timer)
        if self._child is not None:
            self._send(ask)
        return done

    async def settle(self) -> None:
        """Return once the shadows owe nothing, or the child that owed it has ended."""
        if self._child is None or not (self._pending or self._owed):
            return
        self._number += 1
        done = self._settling[self._number] = self._loop.create_future()
        self._child.send(Settle(self._number))
        await done

    @property
    def waiting(self) -> int:
        """How many questions are under way."""
        return len(self._pending)

    @property
    def failure(self) -> str:
        """Why there is no child, or which variants are left alone and why; empty where all is well."""
        names = [variant.name for variant in self.release.variants]
        return "; ".join(filter(None, [self._failure, self._pauses.told(names, self._loop.time())]))

    def end_when_idle(self) -> None:
        """Keep the child only as long as it has something to do."""
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

    def _send(self, ask: Ask) -> None:
        assert self._child is not None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._watch is None:
            self._heard_at = self._loop.time()
            self._watch = self._loop.call_later(self.budget_s, self._on_watch)
        self._child.send(ask)

    def _on_message(self, message: FromChild) -> None:
        self._heard_at = self._loop.time()
        if isinstance(message, Loaded):
            if self._loading is not None and not self._loading.done():
                self._loading.set_result(message)
        elif isinstance(message, Answers):
            self._on_answers(message)
        elif isinstance(message, Owed):
            for number in message.numbers:
                self._owed.pop(number, None)
            self._log_owed(self._unpacker.unpack(message.batches))
        elif (done := self._settling.pop(message.number, None)) is not None:
            done.set_result(None)
        self._rest()

    def _on_answers(self, answers: Answers) -> None:
        batches = self._unpacker.unpack(answers.batches)
        replies: list[tuple[Pending, Reply]] = []
        for reply in answers.replies:
            pending = self._pending.pop(reply.number, None)
            if pending is not None:
                pending.timer.cancel()
                replies.append((pending, reply))
                if answers.is_owing:
                    self._owed[reply.number] = pending.ask

        def tell(why: Exception | None) -> None:
            for pending, reply in replies:
                _settle(pending.done, reply, why)

        if not batches:
            tell(None)
            return
        try:
            self._keep(batches, tell)
        except LoopwrightError as error:
            tell(error)
        self._observe_batch(answers.rows)

    def _log_owed(self, batches: Sequence[Batch]) -> None:
        try:
            if batches:
                self._keep(batches, lambda why: None)
        except LoopwrightError as error:
            log.error("shadow answers of %s are lost: %s", self.release.deployment, error)

    def _rest(self) -> None:
        """End a child that is not needed any more, at once or when it has been idle for long enough."""
        if self._pending or self._owed or self._child is None:
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
        if self._child is not None and not self._pending and not self._owed and not self._is_resident:
            self._child.close()
            self._child = None

    def _on_late(self, number: int) -> None:
        pending = self._pending.get(number)
        if pending is not None and not pending.done.done():
            pending.done.set_exception(
                TookTooLong(
                    f"{self.release.deployment} did not answer in time",
                    field="deployment",
                    value=self.release.deployment,
                    rule=f"an answer within {self.budget_s:g} s",
                    next_step="send fewer rows at a time, or raise the deployment's timeout",
                )
            )

    def _on_watch(self) -> None:
        """Stop a child that has said nothing for as long as a request may take, although it has work."""
        silent_s = self._loop.time() - self._heard_at
        self._watch = None
        if self._child is None or not (self._pending or self._owed):
            return
        if silent_s < self.budget_s:
            self._watch = self._loop.call_later(self.budget_s - silent_s, self._on_watch)
            return
        self._child.stop(f"took longer than {self.budget_s:g} s and was stopped")

    def _on_end(self, child: Child, end: End) -> None:
        if self._loading is not None:
            if not self._loading.done():
                self._loading.set_exception(ChildCrashed(end.how, end.mark, is_own_fault=end.is_own_fault))
            return
        if child is not self._child:
            return
        self._child = None
        place = end.mark[0] if end.mark else champion_place(self.release)
        variant = self.release.variants[place]
        name = f"{self.release.project}/{self.release.deployment}"
        log.error("%s of %s, release %s: its process %s", variant.name, name, self.release.number, end.how)
        why = f"its process {end.how}"
        self._pauses.blame(place, why, self._loop.time())
        for ask in self._owed.values():
            ask.down = {**ask.down, place: why}
        for number, pending in list(self._pending.items()):
            pending.ask.down = {**pending.ask.down, place: why}
            pending.tries += 1
            if pending.tries > _TRIES:
                self._fail(number, why)
        lived_s = self._loop.time() - self._started_at
        self._delay_s = min(max(2 * self._delay_s, 0.25), _LONGEST_DELAY_S) if lived_s < _BRIEF_S else 0.0
        for done in self._settling.values():
            done.set_result(None)
        self._settling.clear()
        if self._coming_back is None and not (self._is_closed and not self._pending and not self._owed):
            self._coming_back = self._loop.create_task(self._come_back())

    async def _come_back(self) -> None:
        """Start the next child and hand it what was under way."""
        try:
            await asyncio.sleep(self._delay_s)
            await self.start()
        except LoopwrightError as error:
            self._delay_s = min(max(2 * self._delay_s, 0.5), _LONGEST_DELAY_S)
            self._failure = str(error)
            log.error("%s/%s cannot be started again: %s", self.release.project, self.release.deployment, error)
            self._fail_all(str(error))
        else:
            self._failure = ""
        finally:
            self._coming_back = None
        if self._child is None:
            return
        for ask in list(self._owed.values()):
            ask.is_told, ask.down = True, {**ask.down, **self._pauses.down(self._loop.time())}
            self._send(ask)
        for pending in list(self._pending.values()):
            pending.ask.down = {**pending.ask.down, **self._pauses.down(self._loop.time())}
            self._send(pending.ask)

    def _fail_all(self, why: str) -> None:
        for number in list(self._pending):
            self._fail(number, why)
        self._owed.clear()

    def _fail(self, number: int, why: str) -> None:
        pending = self._pending.pop(number)
        pending.timer.cancel()
        if not pending.done.done():
            pending.done.set_exception(self._paused(why))

    def _paused(self, why: str) -> ModelPaused:
        return ModelPaused(
            f"{self.release.deployment} cannot answer now: {why}",
            field="deployment",
            value=self.release.deployment,
            next_step="send it again later; loopwright status says what is wrong",
        )


def _settle(done: "asyncio.Future[bytes]", reply: Reply, why: Exception | None) -> None:
    if done.done():
        return
    if why is None and reply.error is not None:
        why = error_from_dict(reply.error)
    done.set_result(reply.body) if why is None else done.set_exception(why)
