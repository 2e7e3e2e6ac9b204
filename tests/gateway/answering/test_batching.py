"""Batches: shadow answers that cannot be kept cost no others."""

import asyncio
from collections.abc import Sequence
from typing import Any

from loopwright.gateway.answering.batching import Asked, Batcher, answer_requests
from loopwright.gateway.log.batches import Batch, StreamKey
from loopwright.gateway.log.journal import Then
from loopwright.gateway.metrics import Metrics
from loopwright.kernel.errors import StorageFull
from tests.gateway.answering.test_runtime import GOOD, ROWS, runtime


class Shelf:
    """A journal in memory; refuses some of what it is given."""

    def __init__(self) -> None:
        self.kept: list[Batch] = []
        self.refusals: list[Exception] = []

    def keep(self, key: StreamKey, batches: Sequence[Batch], then: Then) -> None:
        if self.refusals and any(name == "is_shadow" and value for name, _, value in batches[0].layout.constants):
            raise self.refusals.pop()
        self.kept += batches
        then(None)


def test_shadow_answers_that_are_lost_cost_no_others() -> None:
    shelf, metrics = Shelf(), Metrics()
    batcher = Batcher(shelf, metrics)  # type: ignore[arg-type]
    shelf.refusals = [StorageFull("the disk is full"), KeyError("nobody thought of this")]

    async def ask() -> list[Any]:
        loaded = [runtime(GOOD, is_shadow=True, weight=0.0) for _ in range(3)]
        answers = await asyncio.gather(*(batcher.submit(made, Asked(ROWS, 0.0)) for made in loaded))
        batcher.finish_shadows()
        return answers

    answers = asyncio.run(ask())
    assert [len(predictions) for predictions in answers] == [len(ROWS)] * 3
    assert len(shelf.kept) == 4
    assert "loopwright_gateway_shadow_batches_lost 2" in metrics.text().decode()


def test_whatever_a_request_causes_its_neighbours_are_answered() -> None:
    made = runtime(GOOD, fields=("x0", "x0"))
    requests = {place: Asked([{"x0": "boom" if place == 2 else 0.5}], 0.0) for place in range(5)}
    answers = {key: answered for keys, answered in answer_requests(made, requests) for key in keys}
    assert {key: isinstance(answered, Exception) for key, answered in answers.items()} == {
        place: place == 2 for place in range(5)
    }
