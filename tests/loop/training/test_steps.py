"""Steps of a training, killed and done again."""

import io
from pathlib import Path

import msgspec
import polars as pl
import pytest

from loopwright.features import TrainingSetSpec, TrainingSetVersion
from loopwright.kernel.clock import DAY_US, format_duration, format_moment
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.loop import TrainSpec
from loopwright.loop.training import steps
from loopwright.registry import Evidence, GateReport, InputColumn, ModelFile, SavedModel, Signature
from loopwright.store.types import BlobRef
from tests.loop.conftest import CODE, Importer, Loop
from tests.loop.crashing import Killed, Worker

TRAIN = TrainSpec("fit", "late", "late", CODE, None, 1, False, {"rate": 0.1})


def freeze(loop: Loop, at: int) -> TrainingSetVersion:
    """Store a training set of two rows."""
    file = io.BytesIO()
    pl.DataFrame({"event_at": [at - 3 * DAY_US, at - 2 * DAY_US]}).write_parquet(file)
    frozen: TrainingSetVersion = loop.service(
        "features.record_training_set",
        spec=TrainingSetSpec("late", {"flights": 1}, None, at, at),
        blob=loop.blobs.put(file.getvalue()),
        rows=2,
        plan_digest=loop("features.freeze_plan", service="late"),
        event_at_min=at - 3 * DAY_US,
        event_at_max=at - 2 * DAY_US,
    )
    return frozen


@pytest.mark.parametrize(
    "dies_after", ["tracking.start_run", "tracking.log", "tracking.finish_run", "registry.register"]
)
def test_a_registration_that_was_killed_leaves_one_finished_run_and_one_version(
    loop: Loop, importer: Importer, tmp_path: Path, dies_after: str
) -> None:
    importer.load()
    freeze(loop, loop.wall.at_us)
    loop.service("blobs.keep", blobs=[BlobRef(TRAIN.function.digest, 3)])
    stored = loop.blobs.put(b"a model")
    file = ModelFile("model.json", stored.digest, stored.size_bytes)
    saved = SavedModel("constant", [file], Signature([InputColumn("recent", "number")], "binary"), "a" * 64)
    inputs = {
        "train": to_builtins(TRAIN),
        "model": {"saved": to_builtins(saved)},
        "rows": {"ref": "flights/training_set:late/1", "plan_digest": "f" * 64},
        "metrics": {"metrics": {"roc_auc": 0.7}},
        "refit_of": None,
        "profile": {"digest": loop.blobs.put(b"a profile").digest},
    }
    worker = Worker(loop, tmp_path, dies_after=dies_after)
    with pytest.raises(Killed):
        steps.register(worker.step("register", "loop.register"), inputs)
    registered = steps.register(worker.step("register", "loop.register"), inputs)
    [run] = loop("tracking.search_runs", experiment="fit")
    assert (run.state, run.metrics, run.params) == ("finished", {"roc_auc": 0.7}, {"rate": 0.1})
    [version] = loop("registry.versions", model="late")
    assert (version.version, version.run) == (registered["version"], f"flights/run:{run.run_id}")
    assert len(loop("tracking.metric_history", run_id=run.run_id, key="roc_auc")) == 1


@pytest.mark.parametrize(("part", "holdout_us"), [("holdout", DAY_US), ("fit", 9 * DAY_US)])
def test_a_part_without_rows_says_which_setting_to_change(
    loop: Loop, importer: Importer, tmp_path: Path, part: str, holdout_us: int
) -> None:
    loop.apply()
    importer.load()
    at = loop.wall.at_us
    frozen = freeze(loop, at)
    train = msgspec.structs.replace(TRAIN, holdout_us=holdout_us)
    rows = {"ref": f"flights/training_set:late/{frozen.version}"}
    step = Worker(loop, tmp_path).step("cut", "loop.cut")
    with pytest.raises(InvalidInput, match="no row has a label") as told:
        steps.cut(step, {"train": to_builtins(train), "at": at, "part": part, "rows": rows})
    assert (told.value.field, told.value.value) == ("holdout", format_duration(holdout_us))
    assert "another holdout" in told.value.next_step
    assert f"{format_moment(at - 3 * DAY_US)} to {format_moment(at - 2 * DAY_US)}" in told.value.message
    assert ('mature="1d"' in told.value.next_step) == (part == "holdout")


@pytest.mark.parametrize("returned", [None, "a model", {"params": 3}])
def test_a_fit_that_returns_no_model_is_told_so(loop: Loop, tmp_path: Path, returned: object) -> None:
    worker, train = Worker(loop, tmp_path), to_builtins(TRAIN)
    with pytest.raises(InvalidInput, match=f"{CODE.qualname} returned no model"):
        steps.evaluate(worker.step("evaluate", "loop.evaluate"), {"model": returned, "rows": {}, "train": train})
    with pytest.raises(InvalidInput, match=f"{CODE.qualname} returned no model"):
        steps.register(worker.step("register", "loop.register"), {"model": returned, "train": train})


@pytest.mark.parametrize(("at", "is_chosen"), [(None, False), (0, False), (-DAY_US, True)])
def test_whoever_says_when_a_training_looks_chose_the_held_out_rows(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int | None, is_chosen: bool
) -> None:
    told: list[bool] = []

    def record(*_: object, is_stretch_chosen: bool) -> GateReport:
        told.append(is_stretch_chosen)
        return GateReport(
            "gate_1", "late", 1, True, [], Evidence("late", 1, 0, {}, {}, None, None, 0, 0, None, []), 0, 0
        )

    monkeypatch.setattr(steps.evidence, "run_and_record", record)
    step = Worker(loop, tmp_path).step("gates", "loop.gates")
    step.params["at"] = None if at is None else step.execution.event_at + at
    inputs = {"train": to_builtins(TRAIN), "registered": {"version": loop.register()}, "gates": [], "rows": {}}
    assert steps.gates(step, inputs)["passed"]
    assert told == [is_chosen]
