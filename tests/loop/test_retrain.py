"""When the policy retrains: one at a time, within its budget, when a trigger fires on the champion's own windows."""

import itertools
from typing import Any

import msgspec
import pytest

from loopwright.governance import LOCAL_ACTOR
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.loop import When
from loopwright.monitoring import MonitorSpec
from tests.loop.conftest import LATE, POLICY, PROJECT, Loop
from tests.store.interleaving import interruptions


def test_one_live_retrain_a_deployment(serving: Loop) -> None:
    execution_id = serving.retrain().execution_id
    with pytest.raises(Conflict, match=f"is training since .*{execution_id}"):
        serving.retrain()


def test_two_that_start_at_once_are_one_retrain(serving: Loop) -> None:
    def start(reason: str) -> Any:
        args = {"deployment": "late", "reason": reason}
        return serving.dispatcher.call("loop.start_retrain", args, actor=LOCAL_ACTOR, project="flights")

    for played in interruptions(serving.dispatcher.database, lambda _: start("new rows"), lambda _: start("a hunch")):
        assert "is training since" in played.one_refusal().message
        live = [record for record in serving("loop.retrains") if record.state == "training"]
        assert len(live) == 1
        serving.train(live[0].execution_id, passed=False)


def test_an_old_champion_is_trained_again_once(serving: Loop) -> None:
    serving.wall.at_us += 58 * DAY_US
    serving.window()
    assert serving.retrains() == []
    serving.window()
    serving.window()
    [record] = serving("loop.retrains")
    assert (record.cause, record.state) == ("older_than", "training")
    serving.train(record.execution_id, passed=False)
    serving.window()
    assert len(serving.retrains()) == 1
    serving.wall.at_us += 30 * DAY_US
    serving.window()
    assert [state for state, _ in serving.retrains()] == ["training", "refused"]


def test_no_retrain_begins_while_a_rollout_is_under_way(serving: Loop) -> None:
    serving.train()
    serving.wall.at_us += 61 * DAY_US
    serving.window()
    assert serving.retrains() == []
    serving("serving.abort", rollout_id=serving.rollout().rollout_id, reason="worse")
    serving.window()
    assert [state for state, _ in serving.retrains()] == ["training"]


def test_drift_of_enough_features_retrains(serving: Loop) -> None:
    serving.apply(retrains=[msgspec.structs.replace(POLICY, when=[When("drift", {"features": 3})])])
    for drifted in (2, 2, 3):
        serving.window(drifted=drifted)
    assert serving.retrains() == []
    serving.window(drifted=3)
    [record] = serving("loop.retrains")
    assert record.reason == "3 features drift: f0, f1, f2"


@pytest.mark.parametrize(
    ("metric", "held_out", "worse", "better"),
    [("rmse", 20.0, 30.0, 10.0), ("roc_auc", 0.76, 0.70, 0.82)],
)
def test_quality_decays_in_the_direction_of_its_metric(
    loop: Loop, metric: str, held_out: float, worse: float, better: float
) -> None:
    name = "minutes" if metric == "rmse" else "late"
    by, half = abs(worse - held_out) / 2, abs(worse - held_out) / 4
    serve_with(loop, name, metric, by, held_out)

    def measured(value: float, half: float, labels: int = 900) -> list[tuple[str, str]]:
        loop.window(name, metric=metric, value=value, low=value - half, high=value + half, labels=labels)
        return loop.retrains(name)

    assert measured(better, half) == []
    assert measured(worse, half, labels=499) == []
    assert measured(worse, 5 * half) == []
    assert measured((worse + 2 * held_out) / 3, 0.0) == []
    [(state, _)] = measured(worse, half)
    assert state == "training"
    [record] = loop("loop.retrains")
    assert record.reason == f"{metric} {worse:.3f} on 900 matured labels, held out {held_out:.3f}"


@pytest.mark.parametrize(("metric", "held_out", "step"), [("rmse", 20.0, 2.0), ("roc_auc", 0.76, -0.02)])
def test_an_incident_of_decay_and_the_retrain_that_answers_it_come_together(
    loop: Loop, metric: str, held_out: float, step: float
) -> None:
    name = "minutes" if metric == "rmse" else "late"
    serve_with(loop, name, metric, 1.5 * abs(step), held_out)
    for steps, half, labels in itertools.product((1, 2, 3), (3.2, 1.2, 0.2), (499, 900)):
        value, wide = held_out + steps * step, half * abs(step)
        loop.window(name, metric=metric, value=value, low=value - wide, high=value + wide, labels=labels)
        incidents = loop("monitoring.incidents", kind="decay")
        assert len(loop.retrains(name)) == len(incidents), (steps, half, labels)
        if incidents:
            break
    assert not incidents[0].needs_person
    [record] = loop("loop.retrains")
    assert (record.cause, steps, half, labels) == ("decay", 2, 0.2, 900)
    assert record.reason == incidents[0].title


def test_what_no_trigger_answers_needs_a_person(serving: Loop) -> None:
    serving.window(drifted=1)
    serving.window(drifted=1)
    [incident] = serving("monitoring.incidents", kind="drift")
    assert incident.needs_person


def serve_with(loop: Loop, name: str, metric: str, by: float, held_out: float) -> None:
    """Serve a version with a held-out metric under a policy that watches it."""
    task = "regression" if metric == "rmse" else "binary"
    deployment = msgspec.structs.replace(LATE, name=name, model=name, task=task, rollout=[])
    trigger = When("decay", {"metric": metric, "by": by, "least_labels": 500})
    loop.apply(
        trains=[msgspec.structs.replace(PROJECT.trains[0], model=name)],
        deployments=[deployment],
        monitors={name: MonitorSpec(DAY_US, performance=metric)},
        retrains=[msgspec.structs.replace(POLICY, deployment=name, when=[trigger])],
    )
    version = loop.register(name, task, metrics={metric: held_out})
    loop("loop.deploy", deployment=name, version=version)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retrains": [POLICY, msgspec.structs.replace(POLICY, most=100)]}, "retrains declares late twice"),
        ({"retrains": [msgspec.structs.replace(POLICY, most=0)]}, "would never train"),
        ({"retrains": [msgspec.structs.replace(POLICY, most=-5)]}, "would never train"),
        (
            {"retrains": [msgspec.structs.replace(POLICY, when=[When("older_than", {"age_us": "60d"})])]},
            "older_than cannot read this",
        ),
        ({"datasets": [*PROJECT.datasets, *PROJECT.datasets]}, "datasets declares flights twice"),
    ],
)
def test_a_declaration_that_says_two_things_or_nothing_is_refused(
    loop: Loop, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        loop.apply(**changes)
