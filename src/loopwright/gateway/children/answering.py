"""A child that answers the questions to one release: in batches, and the shadows when nobody waits."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loopwright.gateway.answering.batching import Asked, answer_requests, parts_of
from loopwright.gateway.answering.failures import ModelFailed, ModelPaused
from loopwright.gateway.answering.lookups import look_up_features
from loopwright.gateway.answering.questions import Reading, read_question, write_answer
from loopwright.gateway.answering.runtime import Answered, DeploymentRuntime, Down, ShadowWork
from loopwright.gateway.children.line import Line
from loopwright.gateway.children.messages import (
    Answers,
    Ask,
    BatchPacker,
    Load,
    Loaded,
    Owed,
    Reply,
    Settle,
    Settled,
)
from loopwright.gateway.marks import Page, PageMarker
from loopwright.gateway.releases.loading import Loader
from loopwright.gateway.stamps import Stamp
from loopwright.kernel.clock import WallClock
from loopwright.kernel.errors import LoopwrightError, StepFailed
from loopwright.kernel.storable import words_of

log = logging.getLogger("loopwright.gateway")
_MOST_DEBTS = 16


class Debt(NamedTuple):
    """What shadows still have to answer: the questions' numbers, their rows, and who is not to be tried."""

    numbers: list[int]
    work: ShadowWork
    down: Down


class AnsweringDesk:
    """Answers questions to one release.

    Args:
        line: To the gateway.
        runtime: The release, loaded.
    """

    def __init__(self, line: Line, runtime: DeploymentRuntime) -> None:
        self._line, self._runtime = line, runtime
        self._packer = BatchPacker()
        self._debts: list[Debt] = []

    def run(self) -> None:
        """Answer until the gateway hangs up."""
        while True:
            messages = self._line.read(is_waiting=not self._debts)
            asks = {message.number: message for message in messages if isinstance(message, Ask)}
            if asks:
                self._answer(asks)
            for message in messages:
                if isinstance(message, Settle):
                    self._pay(until=0)
                    self._line.write(Settled(message.number))
            # Whoever is asked without pause pays as it goes, else it would owe more and more.
            self._pay(until=_MOST_DEBTS if messages else len(self._debts) - 1)

    def _answer(self, asks: dict[int, Ask]) -> None:
        readings: dict[int, Reading] = {}
        requests: dict[int, Asked] = {}
        for number, ask in asks.items():
            if ask.question.protocol == "features":
                self._line.write(Answers(number, [self._look_up(ask)]))
                continue
            try:
                reading = readings[number] = read_question(ask.question, self._runtime.release)
            except LoopwrightError as error:
                self._line.write(Answers(number, [Reply(number, error=error.to_dict())]))
                continue
            stamp = Stamp(int.from_bytes(ask.base), ask.at_us)
            asked = Asked(reading.rows, ask.question.started, ask.question.forced, stamp, ask.down)
            if ask.is_told:
                self._owe_again(number, asked)
            else:
                requests[number] = asked
        for numbers, answered in answer_requests(self._runtime, requests):
            if isinstance(answered, Exception):
                why = _told(answered)
                self._line.write(Answers(numbers[0], [Reply(number, error=why) for number in numbers]))
                continue
            if answered.shadow is not None:
                self._debts.append(Debt(numbers, answered.shadow, requests[numbers[0]].down))
            replies = self._replies(
                [(asks[number], readings[number], requests[number]) for number in numbers], answered
            )
            batches = self._packer.pack(answered.batches)
            is_owing = answered.shadow is not None
            self._line.write(Answers(numbers[0], replies, batches, len(answered.predictions), is_owing))

    def _look_up(self, ask: Ask) -> Reply:
        """Return the features that a prediction would be given, or why there are none."""
        champion = self._runtime.champion
        if champion in ask.down:
            return Reply(ask.number, error=ModelPaused(f"nothing is looked up now: {ask.down[champion]}").to_dict())
        try:
            return Reply(ask.number, look_up_features(self._runtime, ask.question, ask.at_us))
        except Exception as error:  # noqa: BLE001 - user code may raise anything
            return Reply(ask.number, error=_told(error))

    def _owe_again(self, number: int, asked: Asked) -> None:
        try:
            work = self._runtime.shadow_work(asked.rows, asked.forced, asked.stamped())
        except LoopwrightError:
            self._line.write(Owed(0, [number]))
            return
        self._debts.append(Debt([number], work, asked.down))

    def _replies(self, asked: Sequence[tuple[Ask, Reading, Asked]], answered: Answered) -> list[Reply]:
        failure = answered.failure()
        if failure is not None:
            return [Reply(ask.number, error=failure.to_dict()) for ask, _, _ in asked]
        parts = parts_of(answered, [request for _, _, request in asked])
        return [
            Reply(ask.number, write_answer(ask.question, self._runtime.release, reading, predictions))
            for (ask, reading, _), predictions in zip(asked, parts, strict=True)
        ]

    def _pay(self, until: int) -> None:
        """Let the shadows answer the oldest batches that they owe, until only so many are left."""
        while len(self._debts) > max(until, 0):
            debt = self._debts.pop(0)
            try:
                batches = self._runtime.answer_shadows(debt.work, debt.down)
            except Exception:
                # The answers of one batch cannot be kept; those of the others can.
                release = self._runtime.release
                log.exception("shadow answers of %s/%s are lost", release.project, release.deployment)
                batches = []
            self._line.write(Owed(0, debt.numbers, self._packer.pack(batches)))


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, LoopwrightError):
        return error.to_dict()
    log.error("a question could not be answered", exc_info=error)
    return ModelFailed("something went wrong on our side; the gateway's log has the details").to_dict()


def load(line: Line, message: Load, page: Page) -> DeploymentRuntime | None:
    """Load a release, have it answer, and tell how that went; None where it cannot be used."""
    release = message.release
    try:
        around = message.around
        loader = Loader(Path(around.root), WallClock(), around.project, around.online_url)
        marker = PageMarker(page, [bytes([index]) for index in range(len(release.variants))])
        runtime = loader.load(release, marker)
        row_us = runtime.warm(read_question(message.sample, release).rows if message.sample else ())
    except Exception as error:  # noqa: BLE001 - models and user code may raise anything
        line.write(Loaded(message.number, why_not=_why_not(error)))
        return None
    line.write(Loaded(message.number, row_us))
    return runtime


def _why_not(error: Exception) -> dict[str, Any]:
    if isinstance(error, LoopwrightError):
        return error.to_dict()
    return StepFailed(f"{type(error).__name__}: {words_of(error)}").to_dict()
