"""From rows that a model cannot answer, through the log, to the canary's guard: a candidate is judged by its rows."""

import time
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.gateway.answering.runtime import DeploymentRuntime
from loopwright.gateway.stamps import Stamped
from loopwright.kernel.ids import new_ids
from loopwright.serving import StepVerdict
from loopwright.serving.rollouts.guards import ErrorRate
from loopwright.serving.rollouts.harm import NEVER
from tests.gateway.answering.test_runtime import Model, logged, runtime

WEIGHT = 0.05
NO_ROWS = pl.LazyFrame(schema={"latency_us": pl.Int64()})


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes, so that bad rows are found on any machine."""
    monkeypatch.setattr(time, "perf_counter", lambda: 1_000.0)


def failing(share: float) -> Model:
    """A model that raises where a batch holds a row of the lowest ``share`` of all."""

    def predict(matrix: Any) -> Any:
        if (matrix < share).any():
            raise ValueError("a value that was not seen in training")
        return matrix[:, 0]

    return Model(predict)


def look(made: DeploymentRuntime, rng: np.random.Generator, guard: ErrorRate, size: int, at_us: int) -> StepVerdict:
    """Have a request answered, and the guard look at what was logged so far."""
    rows = [{"x0": float(value)} for value in rng.random(size)]
    answered = made.answer(rows, [1_000.0] * size, stamped=Stamped(new_ids("pred", size, at_us), [at_us] * size))
    parts = [
        pl.DataFrame(
            {"variant": variant, **{name: columns[name] for name in ("recorded_at", "bucket", "error")}},
            schema_overrides={"error": pl.String},
        )
        for variant, columns in logged(answered).items()
    ]
    guard.add(pl.concat(parts), NEVER)
    return guard.verdict()


def canary(champion: float, candidate: float, size: int, requests: int) -> int:
    """Return after how many requests a canary is aborted whose variants fail shares of rows; more than all: never."""
    rng = np.random.default_rng(size)
    made = runtime(failing(candidate), champion=failing(champion), weight=WEIGHT)
    guard = ErrorRate(WEIGHT, NO_ROWS)
    for number in range(1, requests + 1):
        if look(made, rng, guard, size, number).verdict == "abort":
            return number
    return requests + 1


@pytest.mark.parametrize(("size", "most"), [(20, 400), (64, 300), (500, 200)])
def test_a_candidate_that_fails_ten_times_as_many_rows_is_aborted(size: int, most: int) -> None:
    assert canary(0.01, 0.1, size, most) <= most


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize(("size", "most"), [(20, 300), (64, 200), (500, 50)])
def test_a_candidate_that_fails_as_many_rows_goes_on(share: float, size: int, most: int) -> None:
    assert canary(share, share, size, most) > most
