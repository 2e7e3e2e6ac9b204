"""When steps are looked at and what follows, as pure functions."""

from typing import Any

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import InvalidInput
from loopwright.serving import CanaryStep, Rollout, ShadowStep, StepVerdict
from loopwright.serving.rollouts.planning import check_steps, decide, describe_step, explain, next_look_at

SHADOW = ShadowStep(hold_us=7 * DAY_US, no_worse="roc_auc", margin=0.01)
CANARY = CanaryStep(weight=0.05, hold_us=6 * HOUR_US, guard=["error_rate"])
GUARDS = {"error_rate", "latency_p99"}


def looks(step: Any) -> list[int]:
    moments, now = [], 0
    while now < 3 * step.hold_us:
        now = next_look_at(step, 0, now)
        moments.append(now)
    return moments


def test_a_shadow_is_judged_at_the_end_of_each_hold() -> None:
    assert looks(SHADOW) == [7 * DAY_US, 14 * DAY_US, 21 * DAY_US]


def test_a_canary_is_watched_every_hour() -> None:
    assert looks(CANARY)[:7] == [hour * HOUR_US for hour in range(1, 8)]


def test_a_short_canary_is_watched_more_often_and_a_long_one_less() -> None:
    assert len([at for at in looks(CanaryStep(0.1, HOUR_US, [])) if at <= HOUR_US]) == 6
    assert len([at for at in looks(CanaryStep(0.1, 10 * DAY_US, [])) if at <= 10 * DAY_US]) == 24


def test_the_longest_time_is_looked_at_too() -> None:
    assert looks(ShadowStep(10, "roc_auc", 0.01, most_us=15))[:3] == [10, 15, 20]


def rollout(step: Any, **changes: Any) -> Rollout:
    made = Rollout("roll_1", "late", "late", 2, 1, [step], 0, "running", "person:ana", "why", 0, 0, 0)
    return msgspec.structs.replace(made, **changes)


def verdict(kind: Any) -> StepVerdict:
    return StepVerdict(0, "m", None, None, None, None, None, kind, f"it is {kind}")


@pytest.mark.parametrize(
    ("verdicts", "at_us", "decision"),
    [
        (["go", "go"], 7 * DAY_US, "go"),
        (["go", "go"], 7 * DAY_US - 1, "wait"),
        (["go", "abort"], 1, "abort"),
        (["go", "undecided"], 7 * DAY_US, "wait"),
        (["go", "undecided"], 14 * DAY_US, "abort"),
        ([], 14 * DAY_US, "abort"),
    ],
)
def test_what_follows_from_a_look(verdicts: list[str], at_us: int, decision: str) -> None:
    assert decide(rollout(SHADOW), [verdict(kind) for kind in verdicts], at_us) == decision


def test_a_paused_rollout_only_aborts() -> None:
    paused = rollout(SHADOW, state="paused", paused_at=DAY_US)
    assert decide(paused, [verdict("go")], 30 * DAY_US) == "wait"
    assert decide(paused, [verdict("undecided")], 30 * DAY_US) == "wait"
    assert decide(paused, [verdict("abort")], 2 * DAY_US) == "abort"


def test_a_pause_lengthens_the_hold() -> None:
    resumed = rollout(SHADOW, paused_us=DAY_US)
    assert decide(resumed, [verdict("go")], 7 * DAY_US) == "wait"
    assert decide(resumed, [verdict("go")], 8 * DAY_US) == "go"


def test_an_abort_names_the_harm_and_an_open_end_says_why() -> None:
    assert explain(rollout(SHADOW), [verdict("go"), verdict("abort")]) == "it is abort"
    assert "undecided is never a pass" in explain(rollout(SHADOW), [verdict("go"), verdict("undecided")])


def test_steps_read_as_words() -> None:
    assert describe_step(SHADOW) == "shadow for 7d"


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([ShadowStep(0, "roc_auc", 0.01)], "hold"),
        ([ShadowStep(10, "roc_auc", 0.01, most_us=5)], "most"),
        ([ShadowStep(10, "roc_auc", 0.0)], "margin"),
        ([ShadowStep(10, "rmse", 0.1)], "no_worse"),
        ([CanaryStep(0.0, 10, [])], "weight"),
        ([CanaryStep(1.5, 10, [])], "weight"),
        ([CanaryStep(1.0, 10, ["error_rate"])], "weight"),
        ([CanaryStep(0.5, 10, []), CanaryStep(0.25, 10, [])], r"\[1\].weight"),
        ([CanaryStep(0.5, 10, ["luck"])], "guard"),
    ],
)
def test_a_senseless_step_is_refused_by_name(steps: list[Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        check_steps(steps, "binary", GUARDS)


def test_sensible_steps_pass() -> None:
    check_steps([SHADOW, CANARY, CanaryStep(0.25, HOUR_US, ["latency_p99"])], "binary", GUARDS)
    check_steps([ShadowStep(10, "rmse", 0.1)], "regression", GUARDS)
