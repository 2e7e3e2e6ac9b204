"""What counts as loosening a monitor's rules."""

from typing import Any

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.monitoring import DecayLimit, MonitorSpec, PolicyAnswers
from loopwright.monitoring.strictness import loosened

SPEC = MonitorSpec(DAY_US, performance="roc_auc", segments=["carrier"], channels=["log", "webhook:https://a/…1"])
BY_POLICY = PolicyAnswers(drift=True, decay=[DecayLimit(0.03, 1000)])


def told(changes: dict[str, Any]) -> str:
    return "; ".join(one.told for one in loosened(SPEC, msgspec.structs.replace(SPEC, **changes), None, None))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"above": 0.1, "persist": 1, "decay": 0.01},
        {"usual": False},
        {"segments": ["carrier", "origin"], "channels": [*SPEC.channels, "webhook:https://b/…2"]},
        {"value": "true_positive", "unit": "EUR"},
    ],
)
def test_what_is_as_strict_loosens_nothing(changes: dict[str, Any]) -> None:
    assert told(changes) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"above": 1000.0}, "above: 0.2 -> 1000.0"),
        ({"above": float("nan")}, "above: 0.2 -> nan"),
        ({"persist": 3}, "persist: 2 -> 3"),
        ({"threshold": 0.0001}, "threshold: 0.5 -> 0.0001"),
        ({"decay": 0.5}, "decay: 0.03 -> 0.5"),
        ({"drift": "ks"}, "drift: psi -> ks"),
        ({"performance": "brier"}, "performance: roc_auc -> brier"),
        ({"every_us": 7 * DAY_US}, "every: 1d -> 7d"),
        ({"every_us": HOUR_US}, "every: 1d -> 1h"),
        ({"span_us": DAY_US}, "span: 14d -> 1d"),
        ({"label_lag_us": 0}, "label_lag: 1d -> 0"),
        ({"channels": ["log"]}, "channels: nobody is told by webhook:https://a/…1"),
        ({"channels": []}, "log, webhook"),
        ({"segments": []}, "segments: quality is not told by carrier"),
        ({"ignore": ["carrier"]}, "ignore: no drift is told of carrier"),
    ],
)
def test_what_tells_less_is_told(changes: dict[str, Any], words: str) -> None:
    assert words in told(changes)


def test_drift_counts_more_often_where_it_need_not_be_unusual() -> None:
    lenient = msgspec.structs.replace(SPEC, usual=True)
    strict = msgspec.structs.replace(SPEC, usual=False)
    assert [one.field for one in loosened(strict, lenient, None, None)] == ["usual"]


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        (None, BY_POLICY, ["policy.drift", "policy.decay"]),
        (BY_POLICY, None, []),
        (BY_POLICY, PolicyAnswers(True, [DecayLimit(0.02, 500), DecayLimit(0.5, 10)]), []),
        (BY_POLICY, PolicyAnswers(True, [DecayLimit(0.5, 1000)]), ["policy.decay"]),
        (BY_POLICY, PolicyAnswers(True, [DecayLimit(0.03, 10**9)]), ["policy.decay"]),
        (BY_POLICY, PolicyAnswers(True, [DecayLimit(0.03, 1000, is_share=True)]), ["policy.decay"]),
    ],
)
def test_what_a_policy_answers_calls_for_no_person(
    before: PolicyAnswers | None, after: PolicyAnswers | None, fields: list[str]
) -> None:
    assert [one.field for one in loosened(SPEC, SPEC, before, after)] == fields
