"""A deployment's child: it answers the questions to one release.

What hung or crashed is named by the page that the child marks: that variant is left alone for a while, longer each
time, and its rows are logged as errors, so that the guards of a rollout count them. Requests that were under way are
handed to the next child with the same stamp, and so with the same ids.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from loopwright.gateway.answering.failures import ModelPaused
from loopwright.gateway.answering.questions import Question
from loopwright.gateway.answering.runtime import budget_s, champion_place
from loopwright.gateway.children.child import End
from loopwright.gateway.children.duty import Duty
from loopwright.gateway.children.messages import (
    Answers,
    Ask,
    BatchUnpacker,
    FromChild,
    Load,
    Message,
    Owed,
    Reply,
)
from loopwright.gateway.children.nursery import Nursery
from loopwright.gateway.children.surroundings import Place, Surroundings
from loopwright.gateway.children.tended import Pending, Tended
from loopwright.gateway.log.batches import Batch
from loopwright.gateway.log.journal import Then
from loopwright.gateway.pauses import Pauses
from loopwright.gateway.releases.files import model_key
from loopwright.gateway.stamps import Stamp
from loopwright.kernel.errors import LoopwrightError, error_from_dict
from loopwright.serving import Release

log = logging.getLogger("loopwright.gateway")
Keep = Callable[[Sequence[Batch], Then], None]


class Host(Duty):
    """Has the questions to one release answered by a child.

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
        self.name = f"{release.project}/{release.deployment}"
        self.release = release
        self.tended = Tended(self.name, nursery, budget_s(release), self)
        self._unpacker = BatchUnpacker()
        self._now = asyncio.get_running_loop().time
        self._place, self._keep, self._observe_batch = place, keep, observe_batch
        self._owed: dict[int, Ask] = {}
        self._pauses = Pauses()

    async def start(self, sample: Question | None = None) -> int:
        """Load and warm the release in a child; return how long a row takes it, in microseconds.

        Raises:
            ChildCrashed: The child ended, or hung.
            LoopwrightError: What keeps the release from being loaded.
            Unavailable: There is no process to be had.
        """
        return (await self.tended.begin(Load(0, self.release, await self._around(), sample))).row_us

    def ask(self, question: Question, stamp: Stamp) -> "asyncio.Future[bytes]":
        """Hand a question to the child; its future ends with the answer's body, or with why there is none.

        It ends with ``TookTooLong`` after the budget, and with ``ModelPaused`` where there is no child.
        """
        down = self._pauses.down(self._now())
        return self.tended.put(Ask(self.tended.next_number(), question, stamp.base.to_bytes(16), stamp.at_us, down))

    @property
    def failure(self) -> str:
        """Why there is no child, or which variants are left alone and why; empty where all is well."""
        names = [variant.name for variant in self.release.variants]
        return "; ".join(filter(None, [self.tended.failure, self._pauses.told(names, self._now())]))

    @property
    def lasting_failure(self) -> str:
        """What does not go away by itself, in words that stay the same; empty where nothing is wrong for long."""
        names = [variant.name for variant in self.release.variants]
        return "; ".join(filter(None, [self.tended.failure, self._pauses.lasting(names, self._now())]))

    async def hello(self) -> Message:
        """Return the release to load."""
        self._unpacker = BatchUnpacker()
        return Load(0, self.release, await self._around())

    async def _around(self) -> Surroundings:
        models = map(model_key, self.release.variants)
        return await self._place.prepared(self.release.project, models, has_store=bool(self.release.plans))

    def receive(self, message: FromChild) -> None:
        """Take answers, and what shadows owed."""
        if isinstance(message, Answers):
            self._on_answers(message)
        elif isinstance(message, Owed):
            for number in message.numbers:
                self._owed.pop(number, None)
            self._log_owed(self._unpacker.unpack(message.batches))

    def owes(self) -> bool:
        """Say whether shadows still have to answer."""
        return bool(self._owed)

    def blame(self, end: End) -> None:
        """Leave the variant alone that was at work."""
        place = end.mark[0] if end.mark else champion_place(self.release)
        if place >= len(self.release.variants):  # a child marks what it likes
            place = champion_place(self.release)
        variant, why = self.release.variants[place], f"its process {end.how}"
        log.error("%s of %s, release %s: %s", variant.name, self.name, self.release.number, why)
        self._pauses.blame(place, why, self._now())
        # Whoever is asked again is spared it however long the next process takes to start.
        for ask in self._asks([pending.message for pending in self.tended.under_way.values()]):
            ask.down = {**ask.down, place: why}

    def messages_again(self, under_way: Sequence[Message]) -> Sequence[Message]:
        """Return the questions under way, and those that only the shadows still have to answer."""
        down = self._pauses.down(self._now())
        for ask in self._owed.values():
            ask.is_told = True
        asks = self._asks(under_way)
        for ask in asks:
            ask.down = {**ask.down, **down}
        return asks

    def refusal(self, why: str) -> LoopwrightError:
        """Return what callers are told meanwhile."""
        return ModelPaused(
            f"{self.release.deployment} cannot answer now: {why}",
            field="deployment",
            value=self.release.deployment,
            next_step="send it again later; loopwright status says what is wrong",
        )

    def _asks(self, under_way: Sequence[Message]) -> list[Ask]:
        return [message for message in (*self._owed.values(), *under_way) if isinstance(message, Ask)]

    def _on_answers(self, answers: Answers) -> None:
        batches = self._unpacker.unpack(answers.batches)
        replies: list[tuple[Pending, Reply]] = []
        for reply in answers.replies:
            pending = self.tended.take_off(reply.number)
            if pending is None:
                continue
            replies.append((pending, reply))
            if answers.is_owing and isinstance(pending.message, Ask):
                self._owed[reply.number] = pending.message

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
            log.error("shadow answers of %s are lost: %s", self.name, error)


def _settle(done: "asyncio.Future[bytes]", reply: Reply, why: Exception | None) -> None:
    if done.done():
        return
    if why is None and reply.error is not None:
        why = error_from_dict(reply.error)
    done.set_result(reply.body) if why is None else done.set_exception(why)
