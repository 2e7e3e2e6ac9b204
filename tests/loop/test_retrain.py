"""When the policy retrains: one at a time, within its budget, when a trigger fires on the champion's own windows."""

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import Conflict
from loopwright.loop import When
from tests.loop.conftest import POLICY, Loop


def test_one_live_retrain_a_deployment(serving: Loop) -> None:
    execution_id = serving.retrain().execution_id
    with pytest.raises(Conflict, match=f"is training since .*{execution_id}"):
        serving.retrain()


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
