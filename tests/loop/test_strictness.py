"""What counts as loosening a retrain policy's rules."""

from typing import Any

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US
from loopwright.loop import RetrainSpec, When
from loopwright.loop.strictness import loosened

DRIFT = When("drift", {"features": 3})
DECAY = When("decay", {"metric": "roc_auc", "by": 0.03, "against": "holdout", "least_labels": 1000})
OLD = When("older_than", {"age_us": 60 * DAY_US})
POLICY = RetrainSpec("late", "fit", [DRIFT, DECAY, OLD], 2, 60 * DAY_US)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"most": 1},
        {"most": 1, "per_us": 30 * DAY_US},
        {"per_us": 90 * DAY_US},
        {"when": [When("drift", {"features": 1}), DECAY, OLD, When("older_than", {"age_us": DAY_US})]},
        {"when": [DRIFT, When("decay", {**DECAY.args, "by": 0.01, "least_labels": 500}), OLD]},
    ],
)
def test_what_is_as_strict_loosens_nothing(changes: dict[str, Any]) -> None:
    assert loosened(POLICY, msgspec.structs.replace(POLICY, **changes)) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"most": 20}, "budget: 2 in 60d -> 20 in 60d"),
        ({"per_us": 29 * DAY_US}, "budget: 2 in 60d -> 2 in 29d"),
        ({"per_us": 0}, "budget"),
        ({"most": 3, "per_us": 90 * DAY_US}, "budget: 2 in 60d -> 3 in 90d"),
        ({"when": [DECAY, OLD]}, "when: drift(features=3) -> nothing"),
        ({"when": [When("drift", {"features": 1000}), DECAY, OLD]}, "when: drift(features=3) -> drift(features=1000)"),
        ({"when": [DRIFT, When("decay", {**DECAY.args, "by": 0.5}), OLD]}, "by=0.5"),
        ({"when": [DRIFT, When("decay", {**DECAY.args, "metric": "brier"}), OLD]}, "metric=brier"),
        ({"when": [DRIFT, DECAY, When("older_than", {"age_us": 61 * DAY_US})]}, "age=60d) -> older_than(age=61d)"),
    ],
)
def test_what_acts_later_or_more_often_is_told(changes: dict[str, Any], told: str) -> None:
    assert told in "; ".join(one.told for one in loosened(POLICY, msgspec.structs.replace(POLICY, **changes)))


def test_a_policy_that_is_gone_is_told() -> None:
    assert [one.told for one in loosened(POLICY, None)] == ["the policy that trains fit is gone"]
