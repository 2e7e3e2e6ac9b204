"""What counts as loosening a deployment's rules."""

from typing import Any

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.registry import GateSpec
from loopwright.serving import ApproveSpec, CanaryStep, DeploymentSpec, ShadowStep
from loopwright.serving.strictness import is_as_strict, loosened, missing_gates

AUC = GateSpec("at_least", {"metric": "roc_auc", "value": 0.65})
BEATS = GateSpec("beats_champion", {"metric": "roc_auc"})
SHADOW = ShadowStep(7 * DAY_US, "roc_auc", 0.01)
CANARY = CanaryStep(0.05, 6 * HOUR_US, ["error_rate", "latency_p99"])
SPEC = DeploymentSpec("late", "late", "binary", [AUC, BEATS], [SHADOW, CANARY], personal=["name"])


def at_least(value: float, metric: str = "roc_auc") -> GateSpec:
    return GateSpec("at_least", {"metric": metric, "value": value})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gates": [at_least(0.7), BEATS, GateSpec("latency", {"p99_ms": 5})]},
        {"gates": [AUC, GateSpec("beats_champion", {"metric": "roc_auc", "margin": 0.01})]},
        {"rollout": [SHADOW, CANARY, CanaryStep(0.5, DAY_US, [])]},
        {"rollout": [msgspec.structs.replace(SHADOW, margin=0.005, hold_us=9 * DAY_US), CANARY]},
        {"personal": ["name", "age"], "follow": ["frozen"], "sticky": "user"},
    ],
)
def test_what_is_as_strict_loosens_nothing(changes: dict[str, Any]) -> None:
    assert loosened(SPEC, msgspec.structs.replace(SPEC, **changes)) == []


def test_of_gates_that_differ_in_a_limit_the_strictest_counts() -> None:
    several = [at_least(0.1), at_least(0.9), at_least(0.5), at_least(0.99, "f1")]
    assert missing_gates(several, [at_least(0.8), at_least(0.2), at_least(0.9)]) == []
    assert missing_gates(several, [at_least(0.95), at_least(0.3, "accuracy")]) == [
        *(at_least(0.95), at_least(0.3, "accuracy"))
    ]
    latency = [GateSpec("latency", {"p99_ms": limit}) for limit in (9, 5, 7)]
    assert missing_gates(latency, [GateSpec("latency", {"p99_ms": 6.0})]) == []
    assert missing_gates(latency, [GateSpec("latency", {"p99_ms": 4})])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gates": []}, "at_least"),
        ({"gates": [at_least(0.6), BEATS]}, "at_least(metric=roc_auc, value=0.65) is gone or weaker"),
        ({"gates": [at_least(0.9, "f1"), BEATS]}, "at_least"),
        ({"gates": [AUC]}, "beats_champion"),
        ({"gates": [GateSpec("at_least", {"metric": "roc_auc", "value": True}), BEATS]}, "at_least"),
        ({"approve": ApproveSpec("policy", "person")}, "nobody approves a first version"),
        ({"approve": ApproveSpec("person", "policy")}, "nobody approves a retrained version"),
        ({"approve": ApproveSpec(allows_own=True)}, "whoever trained"),
        ({"rollout": []}, "step 1 of the rollout"),
        ({"rollout": [CANARY]}, "step 1 of the rollout"),
        ({"rollout": [CANARY, SHADOW]}, "step 2 of the rollout"),
        ({"rollout": [msgspec.structs.replace(SHADOW, margin=0.5), CANARY]}, "step 1"),
        ({"rollout": [msgspec.structs.replace(SHADOW, hold_us=1), CANARY]}, "step 1"),
        ({"rollout": [SHADOW, msgspec.structs.replace(CANARY, guard=["error_rate"])]}, "step 2"),
        ({"rollout": [SHADOW, msgspec.structs.replace(CANARY, weight=0.9)]}, "step 2"),
        ({"rollout": [SHADOW, msgspec.structs.replace(CANARY, least_rows=0)]}, "step 2"),
        ({"personal": []}, "the log keeps name"),
    ],
)
def test_what_is_weaker_is_told(changes: dict[str, Any], told: str) -> None:
    assert told in "; ".join(loosened(SPEC, msgspec.structs.replace(SPEC, **changes)))


def test_a_limit_counts_in_its_own_direction() -> None:
    fast, slow = (GateSpec("latency", {"p99_ms": limit}) for limit in (5, 50))
    assert is_as_strict(fast, slow)
    assert not is_as_strict(slow, fast)
    assert not is_as_strict(GateSpec("own", {"value": 9}), GateSpec("own", {"value": 1}))
