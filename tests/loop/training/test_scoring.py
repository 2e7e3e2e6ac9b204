"""Facts that gates look at, from rows in hand."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.features import TrainingSet
from loopwright.kernel.errors import InvalidInput
from loopwright.loop.training import scoring
from loopwright.loop.training.codecs import LoadedModel
from loopwright.loop.training.scoring import judge, latency_p99_ms
from loopwright.registry import InputColumn, Signature
from loopwright.registry.flavours.constant import ConstantModel


def rows(first: int, count: int) -> TrainingSet:
    numbers = np.arange(first, first + count)
    ids, labels = [f"f{number}" for number in numbers], (numbers % 2).astype(float)
    return TrainingSet(
        pl.DataFrame({"row_id": ids, "event_at": numbers, "label": labels, "temp": labels}), label="is_late"
    )


def model(column: str = "temp") -> LoadedModel:
    return LoadedModel(ConstantModel(0.5), Signature([InputColumn(column, "number")], "binary", ["0", "1"]))


def test_overlap_is_counted_by_row_and_unknown_where_the_training_rows_are() -> None:
    known = judge(model(), rows(0, 100), rows(90, 100), model(), rows(50, 10))
    assert (known["overlap_rows"], known["champion_overlap_rows"]) == (10, 10)
    unknown = judge(model(), rows(0, 100), None, model(), None)
    assert (unknown["overlap_rows"], unknown["champion_overlap_rows"]) == (None, None)
    assert judge(model(), rows(0, 100), rows(200, 5))["champion_overlap_rows"] == 0


def test_rows_without_a_models_columns_do_not_measure_it() -> None:
    found = judge(model(), rows(0, 100), rows(200, 5), model("wind"), rows(300, 5))
    assert found["metrics"]["accuracy"] == 0.5
    assert found["champion_metrics"] is None
    with pytest.raises(InvalidInput, match=r"the rows lack columns that the version reads.*wind"):
        judge(model("wind"), rows(0, 100))


SPIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); print(flush=True)\nwhile os.getppid() != 1: pass"
WORKED_S = 0.01
"""How long the model works on an answer, seconds of the processor."""


class Timed:
    """A model that notes how long each of its answers took, by the clock on the wall.

    An answer works as long as the kernel lets a process run before it gives the processor to another.
    """

    def __init__(self) -> None:
        self.took: list[float] = []

    def predict(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        begun, busy = time.perf_counter(), time.thread_time()
        while time.thread_time() < busy + WORKED_S:
            pass
        self.took.append(time.perf_counter() - begun)
        return np.zeros(len(matrix))


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="this kernel does not tell who waited")
def test_latency_is_the_models_own_however_busy_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "LATENCY_CALLS", 10)
    timed = Timed()
    loaded = LoadedModel(timed, Signature([InputColumn("temp", "number")], "regression"))
    allowed = os.sched_getaffinity(0)
    processor = min(allowed)
    command = [sys.executable, "-S", "-c", SPIN, str(processor)]
    spinning = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for each in spinning:
            assert each.stdout is not None
            each.stdout.readline()
        os.sched_setaffinity(0, {processor})
        measured = latency_p99_ms(loaded, rows(0, 1))
    finally:
        os.sched_setaffinity(0, allowed)
        for each in spinning:
            each.kill()
            each.communicate()
    assert 1000 * WORKED_S <= measured < 1000 * np.percentile(timed.took, 99) / 2
