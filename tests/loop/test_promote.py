"""Bringing versions into traffic: who is asked, and whose champion moves."""

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import Conflict, InvalidInput, PermissionDenied
from loopwright.monitoring import MonitorSpec
from loopwright.serving import ApproveSpec, CanaryStep
from tests.loop.conftest import LATE, POLICY, PROJECT, Loop

ASKED_FIRST = msgspec.structs.replace(LATE, name="other", approve=ApproveSpec("person", "policy"))


def test_the_first_release_of_a_second_deployment_waits_for_its_person(serving: Loop) -> None:
    serving.apply(deployments=[LATE, ASKED_FIRST])
    version = serving.train()
    serving.promote()
    assert serving("serving.status", deployment="late").champion == version
    assert serving("serving.status", deployment="other").champion is None
    [waiting] = serving("approvals.list", state="waiting")
    assert "version 2 of late on other" in waiting.question
    serving("approvals.reject", approval_id=waiting.approval_id, reason="not yet")
    serving("loop.deploy", deployment="other", version=1, reason="the old one first")
    assert serving.rollout("other").state == "waiting_approval"


def test_what_another_deployment_promoted_does_not_still_a_policy(serving: Loop) -> None:
    other = msgspec.structs.replace(LATE, name="other")
    serving.apply(
        deployments=[LATE, other],
        monitors={**PROJECT.monitors, "other": MonitorSpec(DAY_US, performance="roc_auc")},
        retrains=[POLICY],
    )
    serving("loop.deploy", deployment="other", version=1)
    serving.train()
    serving.promote("other")
    serving("serving.abort", rollout_id=serving.rollout().rollout_id, reason="worse here")
    assert serving("registry.get_version", model="late", alias="champion").version == 2
    serving.wall.at_us += 61 * DAY_US
    serving.window()
    [(state, _)] = serving.retrains()
    assert state == "training"
    [record] = serving("loop.retrains")
    assert record.reason == "version 1 is 62 days old, limit 60d"


def test_a_monitor_watches_what_its_own_deployment_serves(serving: Loop) -> None:
    monitors = {**PROJECT.monitors, "other": MonitorSpec(DAY_US)}
    serving.apply(deployments=[LATE, ASKED_FIRST], monitors=monitors)
    watched = serving("monitoring.get", deployment="other")
    assert (watched.model_version, watched.next_at) == (None, None)
    assert serving("monitoring.get", deployment="late").model_version == 1


def test_a_deployment_with_fewer_steps_moves_nobody_elses_champion(serving: Loop) -> None:
    serving.apply(deployments=[LATE, msgspec.structs.replace(LATE, name="quick", rollout=[])])
    serving("loop.deploy", deployment="quick", version=1)
    serving.train()
    assert serving("serving.status", deployment="quick").champion == 2
    assert serving("registry.get_version", model="late", alias="champion").version == 1
    serving("loop.rollback", deployment="quick", reason="it was worse")
    serving.promote()
    assert serving("registry.get_version", model="late", alias="champion").version == 2
    serving("serving.retire", deployment="late", reason="the desk is closed")
    serving("loop.deploy", deployment="quick", version=serving.register())
    assert serving("registry.get_version", model="late", alias="champion").version == 3


def test_of_two_ways_that_differ_the_one_that_served_first_moves_the_champion(serving: Loop) -> None:
    canary = CanaryStep(0.1, 7 * DAY_US, ["error_rate"])
    serving.apply(deployments=[LATE, msgspec.structs.replace(LATE, name="other", rollout=[canary])])
    serving("loop.deploy", deployment="other", version=1)
    serving.train()
    serving.promote("other")
    assert serving("serving.status", deployment="other").champion == 2
    assert serving("registry.get_version", model="late", alias="champion").version == 1
    serving.promote()
    assert serving("registry.get_version", model="late", alias="champion").version == 2


def test_nobody_rolls_back_without_a_reason(serving: Loop) -> None:
    serving.train()
    serving.promote()
    with pytest.raises(InvalidInput, match="needs a reason"):
        serving("loop.rollback", deployment="late", reason=" ")
    with pytest.raises(PermissionDenied):
        serving("serving.rollback", deployment="late", reason="")
    assert serving("serving.status", deployment="late").champion == 2
    serving("loop.rollback", deployment="late", reason="it was worse")
    assert serving("serving.status", deployment="late").champion == 1


def test_a_version_that_serves_is_not_deployed_again(serving: Loop) -> None:
    with pytest.raises(Conflict, match="champion of late already"):
        serving("loop.deploy", deployment="late", version=1)


def test_no_training_brings_a_retired_endpoint_back(serving: Loop) -> None:
    serving.retrain()
    serving("serving.retire", deployment="late", reason="the desk is closed")
    assert serving.retrains() == [("refused", "the endpoint was retired: the desk is closed")]
    version = serving.train()
    assert serving("serving.status", deployment="late").release is None
    assert serving("approvals.list", state="waiting") == []
    serving.wall.at_us += 61 * DAY_US
    serving.window()
    assert len(serving.retrains()) == 1
    serving("loop.deploy", deployment="late", version=version, reason="it opens again")
    assert serving("serving.status", deployment="late").champion == version
