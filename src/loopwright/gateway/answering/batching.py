"""Micro-batches: what one turn of the event loop has read is answered together; an idle gateway adds no wait."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from loopwright.gateway.answering.failures import ModelFailed
from loopwright.gateway.answering.inputs import Row
from loopwright.gateway.answering.runtime import (
    NONE_DOWN,
    Answered,
    DeploymentRuntime,
    Down,
    Prediction,
    ShadowWork,
)
from loopwright.gateway.stamps import Stamp, Stamped

if TYPE_CHECKING:  # a child that answers batches needs neither
    from loopwright.gateway.log.journal import Journal
    from loopwright.gateway.metrics import Metrics

log = logging.getLogger("loopwright.gateway")
ROWS_A_BATCH = 64


class Asked(NamedTuple):
    """One request's rows, when it came, and what is settled about it already."""

    rows: Sequence[Row]
    started: float
    forced: int | None = None
    stamp: Stamp | None = None
    down: Down = NONE_DOWN

    def stamped(self) -> Stamped | None:
        """Return the rows' ids and moments, None where they are not settled."""
        if self.stamp is None:
            return None
        return Stamped(self.stamp.ids("pred", len(self.rows)), [self.stamp.at_us] * len(self.rows))


def answer_requests(
    runtime: DeploymentRuntime, requests: Mapping[int, Asked]
) -> Iterator[tuple[list[int], Answered | Exception]]:
    """Answer requests in as few batches as they allow.

    Yields:
        Keys of the requests of one batch, and their answer, or why there is none. One bad row must not spoil its
        neighbours: where a batch fails, each of its requests stands alone.
    """
    for keys in _cut(requests):
        try:
            answered = _answer_together(runtime, [requests[key] for key in keys])
            if answered.error is not None and len(keys) > 1:
                raise ModelFailed(answered.error)
            yield keys, answered
        except Exception as error:  # noqa: BLE001 - a request that waits must hear of every failure
            if len(keys) == 1:
                yield keys, error
                continue
            for key in keys:
                yield from answer_requests(runtime, {key: requests[key]})


def _cut(requests: Mapping[int, Asked]) -> Iterator[list[int]]:
    """Yield the keys of requests that may go together: not too many rows, and asked alike."""
    keys: list[int] = []
    size = 0
    alike: tuple[int | None, Down, bool] = (None, NONE_DOWN, False)
    for key, asked in requests.items():
        kind = (asked.forced, asked.down, asked.stamp is None)
        if keys and (size + len(asked.rows) > ROWS_A_BATCH or kind != alike):
            yield keys
            keys, size = [], 0
        alike = kind
        keys.append(key)
        size += len(asked.rows)
    if keys:
        yield keys


def _answer_together(runtime: DeploymentRuntime, batch: Sequence[Asked]) -> Answered:
    first = batch[0]
    rows = first.rows if len(batch) == 1 else [row for asked in batch for row in asked.rows]
    started = [asked.started for asked in batch for _ in asked.rows]
    stamped = first.stamped()
    for asked in batch[1:]:
        if stamped is not None and (more := asked.stamped()) is not None:
            stamped.ids.extend(more.ids)
            stamped.at_us.extend(more.at_us)
    is_alone = len(batch) == 1
    return runtime.answer(rows, started, first.forced, stamped=stamped, down=first.down, is_alone=is_alone)


def parts_of(answered: Answered, requests: Sequence[Asked]) -> Iterator[list[Prediction]]:
    """Yield each request's own predictions, in order."""
    begin = 0
    for asked in requests:
        end = begin + len(asked.rows)
        yield answered.predictions[begin:end]
        begin = end


class Batcher:
    """Collects requests per runtime and answers them, in this process, at the end of the turn.

    Args:
        journal: Where answers go before they leave.
        metrics: Counts batches.
    """

    def __init__(self, journal: "Journal", metrics: "Metrics") -> None:
        self._journal, self._metrics = journal, metrics
        self._pending: dict[DeploymentRuntime, dict[int, Asked]] = {}
        self._waiting: dict[int, asyncio.Future[list[Prediction]]] = {}
        self._asked = 0
        self._shadows: list[tuple[DeploymentRuntime, ShadowWork]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, runtime: DeploymentRuntime, asked: Asked) -> "asyncio.Future[list[Prediction]]":
        """Queue a request; its future ends with one prediction a row."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._asked += 1
        done = self._waiting[self._asked] = self._loop.create_future()
        self._pending.setdefault(runtime, {})[self._asked] = asked
        return done

    def finish_shadows(self) -> None:
        """Answer what the shadows still owe, so that it is in the spool now."""
        while self._shadows:
            self._run_shadows()

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        for runtime, requests in pending.items():
            for keys, answered in answer_requests(runtime, requests):
                if isinstance(answered, Exception):
                    self._refuse(keys, answered)
                    continue
                try:
                    self._keep(runtime, {key: requests[key] for key in keys}, answered)
                except Exception as error:  # noqa: BLE001 - what the spool refuses, the caller must hear
                    self._refuse(keys, error)

    def _keep(self, runtime: DeploymentRuntime, requests: Mapping[int, Asked], answered: Answered) -> None:
        """Put a batch's rows into the journal, then let its answers go."""

        def deliver(why: Exception | None) -> None:
            self._deliver(requests, answered, why)

        self._journal.keep(runtime.stream, answered.batches, deliver)
        self._metrics.observe_batch(len(answered.predictions))
        if answered.shadow is not None:
            self._shadows.append((runtime, answered.shadow))
            if len(self._shadows) == 1 and self._loop is not None:
                self._loop.call_later(0, self._run_shadows)

    def _deliver(self, requests: Mapping[int, Asked], answered: Answered, why: Exception | None = None) -> None:
        why = why or answered.failure()
        if why is not None:
            self._refuse(requests, why)
            return
        for key, predictions in zip(requests, parts_of(answered, list(requests.values())), strict=True):
            done = self._waiting.pop(key)
            if not done.done():
                done.set_result(predictions)

    def _refuse(self, keys: "Sequence[int] | Mapping[int, Asked]", error: Exception) -> None:
        for key in keys:
            done = self._waiting.pop(key)
            if not done.done():
                done.set_exception(error)

    def _run_shadows(self) -> None:
        waiting, self._shadows = self._shadows, []
        for runtime, work in waiting:
            try:
                self._journal.keep(runtime.stream, runtime.answer_shadows(work), lambda why: None)
            except Exception:
                # The answers of one batch cannot be kept; those of the others can.
                release = runtime.release
                log.exception("shadow answers of %s/%s are lost", release.project, release.deployment)
                self._metrics.count_lost_shadow()
