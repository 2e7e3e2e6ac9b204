"""Evidence: what is known of the data behind a version, and of the rows it has seen."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright import features, tracking
from loopwright.data import CheckSpec
from loopwright.features import TrainingSetSpec
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.verbs import verb_of
from loopwright.loop.training import evidence
from loopwright.registry import Evidence, GateSpec, run_gates
from tests.loop.conftest import PROJECT, Importer, Loop

CHECKED = msgspec.structs.replace(PROJECT.datasets[0], checks=[CheckSpec("not_null", "carrier")])


class Desk:
    """Gathers evidence in place of a worker; what its child process measures is told beforehand."""

    project = "flights"

    def __init__(self, loop: Loop, load: Any) -> None:
        self.loop, self.load = loop, load
        self.measured: dict[str, Any] = {"overlap_rows": 0, "champion_overlap_rows": 0}

    def call(self, function: Callable[..., Any], /, **args: Any) -> Any:
        return self.loop.service(verb_of(function).name, **args)

    def child(self, _target: str, _inputs: dict[str, Any]) -> dict[str, Any]:
        fixed = {"rows": 9, "metrics": {"roc_auc": 0.7}, "intervals": {}, "champion_metrics": {"roc_auc": 0.6}}
        return {**fixed, "latency_p99_ms": 1.0, **self.measured}

    def freeze(self) -> str:
        """Record a training set of the newest rows; returns its ref."""
        newest = self.loop("data.get_version", dataset="flights").version
        spec = TrainingSetSpec("late", {"flights": newest}, None, self.loop.wall.at_us, self.loop.wall.at_us)
        plan, blob = self.loop("features.freeze_plan", service="late"), self.loop.blobs.put(f"rows {newest}".encode())
        ends = {"event_at_min": self.loop.wall.at_us, "event_at_max": self.loop.wall.at_us}
        frozen = self.call(features.record_training_set, spec=spec, blob=blob, rows=9, plan_digest=plan, **ends)
        return f"flights/training_set:late/{frozen.version}"

    def gather(self, number: int, ref: str) -> Evidence:
        version = self.loop("registry.get_version", model="late", version=number)
        return evidence.gather(self, self.child, version, {"ref": ref})

    def checked(self, number: int, ref: str) -> tuple[str, str]:
        """Return verdict and sentence of the gate about data."""
        (result,) = run_gates([GateSpec("data_checks")], self.gather(number, ref))
        return result.verdict, result.message


@pytest.fixture
def desk(loop: Loop, importer: Importer) -> Desk:
    loop.apply(datasets=[CHECKED])
    importer.load()
    return Desk(loop, importer.load)


def test_data_that_waits_in_quarantine_fails_the_gate_until_it_is_released(desk: Desk) -> None:
    ref = desk.freeze()
    number = desk.loop.register(training_set=ref)
    assert desk.checked(number, ref) == ("passed", "every dataset version behind it passed its checks")
    desk.load(carrier=None)
    verdict, told = desk.checked(number, ref)
    assert (verdict, "flights/2" in told) == ("failed", True)
    desk.loop("data.release_quarantine", dataset="flights", version=2, reason="a charter")
    assert desk.checked(number, ref)[0] == "passed"


def test_rows_that_a_person_released_are_named_for_the_fit_as_for_the_evaluation(desk: Desk) -> None:
    desk.load(carrier=None)
    desk.loop("data.release_quarantine", dataset="flights", version=2, reason="a charter")
    desk.load()
    fitted = desk.freeze()
    desk.load("replace")
    clean = desk.freeze()
    for trained_on, measured_on, expected in ((clean, clean, False), (fitted, clean, True), (clean, fitted, True)):
        verdict, told = desk.checked(desk.loop.register(training_set=trained_on), measured_on)
        assert (verdict, "a person released: flights/2 (carrier" in told) == ("passed", expected)


def test_what_a_model_from_elsewhere_was_trained_on_is_not_known(desk: Desk) -> None:
    desk.measured = {"overlap_rows": None, "champion_overlap_rows": None}
    early = desk.freeze()
    desk.loop.wall.at_us += 1
    number = desk.loop.register()
    assert desk.gather(number, early).overlap_rows is None
    assert desk.checked(number, early)[0] == "undecided"
    desk.loop.wall.at_us += DAY_US
    desk.load()
    assert desk.gather(number, desk.freeze()).overlap_rows == 0


def test_a_command_is_known_by_the_datasets_of_its_run(desk: Desk) -> None:
    run = desk.call(tracking.start_run, experiment="train", inputs=["flights/dataset:flights/1"])
    number = desk.loop.register(run=run.run_id)
    assert desk.checked(number, desk.freeze())[0] == "passed"
