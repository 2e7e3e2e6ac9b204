"""Micro-batches: what one turn of the event loop has read is answered together; an idle gateway adds no wait."""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

from loopwright.gateway.inputs import Row
from loopwright.gateway.metrics import Metrics
from loopwright.gateway.runtime import Answered, DeploymentRuntime, ModelFailed, Prediction, ShadowWork
from loopwright.gateway.sealing import Sealer
from loopwright.gateway.spool import Spool
from loopwright.kernel.errors import LoopwrightError

log = logging.getLogger("loopwright.gateway")
ROWS_A_BATCH = 64


class Asked(NamedTuple):
    """One request that waits for its batch."""

    rows: Sequence[Row]
    started: float
    forced: int | None
    done: "asyncio.Future[list[Prediction]]"


class Batcher:
    """Collects requests per runtime and answers them at the end of the turn.

    Args:
        spool: Where answers go before they leave.
        sealer: Told when a chunk's worth is there.
        metrics: Counts batches.
        is_durable: True to answer only when the disk has confirmed.
    """

    def __init__(self, spool: Spool, sealer: Sealer, metrics: Metrics, *, is_durable: bool) -> None:
        self._spool, self._sealer, self._metrics, self._is_durable = spool, sealer, metrics, is_durable
        self._pending: dict[DeploymentRuntime, list[Asked]] = {}
        self._shadows: list[tuple[DeploymentRuntime, ShadowWork]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(
        self, runtime: DeploymentRuntime, rows: Sequence[Row], started: float, forced: int | None = None
    ) -> "asyncio.Future[list[Prediction]]":
        """Queue a request; its future ends with one prediction a row."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if not self._pending:
            self._loop.call_soon(self._flush)
        asked = Asked(rows, started, forced, self._loop.create_future())
        self._pending.setdefault(runtime, []).append(asked)
        return asked.done

    def finish_shadows(self) -> None:
        """Answer what the shadows still owe, so that it is in the spool now."""
        while self._shadows:
            self._run_shadows()

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        for runtime, requests in pending.items():
            batch: list[Asked] = []
            size = 0
            for asked in requests:
                if batch and (size + len(asked.rows) > ROWS_A_BATCH or asked.forced != batch[0].forced):
                    self._answer(runtime, batch)
                    batch, size = [], 0
                batch.append(asked)
                size += len(asked.rows)
            self._answer(runtime, batch)

    def _answer(self, runtime: DeploymentRuntime, batch: list[Asked]) -> None:
        try:
            self._answer_together(runtime, batch)
        except LoopwrightError as error:
            if len(batch) == 1:
                _refuse(batch[0], error)
                return
            # One bad row must not spoil its neighbours: each request now stands alone.
            for asked in batch:
                self._answer(runtime, [asked])
        except Exception as error:  # noqa: BLE001 - a request that waits must hear of every failure
            for asked in batch:
                _refuse(asked, error)

    def _answer_together(self, runtime: DeploymentRuntime, batch: list[Asked]) -> None:
        rows = batch[0].rows if len(batch) == 1 else [row for asked in batch for row in asked.rows]
        started = [asked.started for asked in batch for _ in asked.rows]
        answered = runtime.answer(rows, started, batch[0].forced)
        if answered.error is not None and len(batch) > 1:
            raise ModelFailed(answered.error)
        ticket = self._spool.append(runtime.stream, answered.batches)
        self._metrics.observe_batch(len(rows))
        self._sealer.nudge(runtime.stream)
        if answered.shadow is not None:
            self._shadows.append((runtime, answered.shadow))
            if len(self._shadows) == 1 and self._loop is not None:
                self._loop.call_later(0, self._run_shadows)
        if not self._is_durable:
            _deliver(batch, answered)
            return
        loop = self._loop
        assert loop is not None

        def deliver(why: Exception | None) -> None:
            loop.call_soon_threadsafe(_deliver, batch, answered, why)

        self._spool.when_durable(ticket, deliver)

    def _run_shadows(self) -> None:
        waiting, self._shadows = self._shadows, []
        for runtime, work in waiting:
            try:
                self._spool.append(runtime.stream, runtime.answer_shadows(work))
            except Exception:
                # The answers of one batch cannot be kept; those of the others can.
                release = runtime.release
                log.exception("shadow answers of %s/%s are lost", release.project, release.deployment)
                self._metrics.count_lost_shadow()


def _deliver(batch: Sequence[Asked], answered: Answered, why: Exception | None = None) -> None:
    if why is None and answered.error is not None:
        why = ModelFailed(
            f"the model could not answer: {answered.error}",
            next_step="the deployment's owner finds it in the prediction log",
            details={"prediction_ids": [one.prediction_id for one in answered.predictions]},
        )
    place = 0
    for asked in batch:
        until = place + len(asked.rows)
        if why is not None:
            _refuse(asked, why)
        elif not asked.done.done():
            asked.done.set_result(answered.predictions[place:until])
        place = until


def _refuse(asked: Asked, error: Exception) -> None:
    if not asked.done.done():
        asked.done.set_exception(error)
