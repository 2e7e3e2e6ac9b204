"""The closing table speaks of whatever task the deployment has, and counts each deed once."""

from typing import Any

import polars as pl
import pytest

from loopwright.kernel.clock import parse_moment
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.events import Event, Facts, event_type
from loopwright.kernel.verbs import verb_of
from loopwright.loop import Scope
from loopwright.loop.backtest.closing import measured, read_changes, rollbacks
from loopwright.serving import RolledBack, RolloutAborted
from tests.loop.conftest import Loop


def scope(task: str, metric: str, zone: str = "UTC") -> Scope:
    return Scope("late", 0, 10**16, task, metric, ["frozen"], {}, zone=zone, short=metric)


def log(labels: list[Any], *, is_text: bool = False, **answers: list[Any]) -> pl.DataFrame:
    parts = []
    for series, found in answers.items():
        own = {"variant": "any", "series": series, "score": None, "answer": None, "label": None, "label_text": None}
        columns = {"answer": found, "label_text": labels} if is_text else {"score": found, "label": labels}
        parts.append(pl.DataFrame({name: columns.get(name, [value] * len(labels)) for name, value in own.items()}))
    return pl.concat(parts, how="vertical_relaxed")


def test_minutes_are_measured_as_minutes() -> None:
    found = measured(
        log([10.0, 20.0, None], served=[11.0, 19.0, 5.0], frozen=[13.0, 17.0, 5.0]), scope("regression", "rmse")
    )
    assert (found["rmse_served"], found["rmse_frozen"]) == (1.0, 3.0)
    assert found["rmse_served_interval"] == pytest.approx([1.0, 1.0])


def test_classes_are_measured_by_their_answers() -> None:
    given = [
        '{"class":"cat","probabilities":{"cat":0.9,"dog":0.1}}',
        '{"class":"dog","probabilities":{"cat":0.2,"dog":0.8}}',
    ]
    found = measured(log(["cat", "cat"], is_text=True, served=given), scope("multiclass", "accuracy"))
    assert found["accuracy_served"] == 0.5
    assert found["accuracy_frozen"] is None


@pytest.mark.parametrize("labels", [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [None, None, None]])
def test_a_month_with_too_few_of_a_class_has_no_number(labels: list[float | None]) -> None:
    found = measured(log(labels, served=[0.1, 0.2, 0.3]), scope("binary", "roc_auc"))
    assert found["roc_auc_served"] is None
    assert found["roc_auc_served_interval"] is None


def test_months_are_those_of_the_zone() -> None:
    at = parse_moment("2013-07-01T03:30:00Z")
    assert scope("binary", "roc_auc", "America/New_York").month(at) == "2013-06"
    assert scope("binary", "roc_auc").month(at) == "2013-07"


def told(facts: Facts) -> Event:
    return Event(1, "shop", event_type(type(facts)), "ref", "actor", 0, 0, "", to_builtins(facts))


def aborted(rollout_id: str, step: int, deployment: str = "late") -> Event:
    return told(RolloutAborted(deployment, "late", 2, 1, rollout_id, step, [], is_forced=False))


def rolled_back(rollout_id: str) -> Event:
    return told(RolledBack("late", "late", 1, 2, 3, rollout_id, was_candidate=bool(rollout_id)))


def test_each_version_that_was_taken_back_counts_once() -> None:
    counted = [aborted("roll_1", 1), rolled_back("")]
    others = [
        rolled_back("roll_1"),  # took the same rollout back
        aborted("roll_2", -1),  # was rejected before it began
        aborted("roll_3", 0, "early"),
    ]
    assert rollbacks([*others, *counted], "late") == counted


class Calls:
    """Calls verbs by their functions, as a job does."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def call(self, function: Any, **args: Any) -> Any:
        return self._loop(verb_of(function).name, **args)


def test_incidents_of_other_deployments_are_not_counted(loop: Loop) -> None:
    for subject in ("deployment:late", "deployment:early", "dataset:flights"):
        loop.service("monitoring.raise_alert", subject=f"flights/{subject}", kind="drift", message="it differs")
    caller: Any = Calls(loop)
    counted = read_changes(caller, scope("binary", "roc_auc"))["incidents"]
    assert sorted(incident.subject for incident in counted) == ["flights/dataset:flights", "flights/deployment:late"]
