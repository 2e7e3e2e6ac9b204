"""When a rollout step is looked at and what follows from what a look found. Pure functions."""

from typing import Literal

from loopwright.kernel.bounds import check_count
from loopwright.kernel.clock import DAY_US, HOUR_US, format_duration, format_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.serving.types import CanaryStep, Rollout, RolloutStep, ShadowStep, StepVerdict

METRICS_BY_TASK: dict[str, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss", "brier", "accuracy"),
    "regression": ("rmse", "mse", "mae"),
    "forecast": ("rmse", "mse", "mae"),
    "multiclass": ("accuracy",),
}
"""What a shadow step can judge."""

_LOOKS_A_HOLD = 24
_CANARY_MOST_US = 7 * DAY_US

Decision = Literal["wait", "go", "abort"]


def most_us(step: RolloutStep) -> int:
    """Return the longest a step may take, microseconds of the project's clock.

    Where nothing is declared a shadow may take two holds, and a canary, whose small share may need days to reach its
    least rows, two holds or a week.
    """
    longest = 2 * step.hold_us if isinstance(step, ShadowStep) else max(2 * step.hold_us, _CANARY_MOST_US)
    return step.most_us or longest


def look_every_us(step: RolloutStep) -> int:
    """Return the time between two looks.

    A shadow is judged when its hold is over, once more after each further hold. A canary is watched all the time: every
    hour, six times where its hold is shorter than six hours, 24 times where it is longer than a day.
    """
    # A shadow harms nobody while it waits, and each further look is one more chance to pass by luck; a canary answers.
    if isinstance(step, ShadowStep):
        return step.hold_us
    return max(min(HOUR_US, step.hold_us // 6), step.hold_us // _LOOKS_A_HOLD, 1)


def next_look_at(step: RolloutStep, started_at: int, now_us: int) -> int:
    """Return the first planned look after now: the regular ones, the end of the hold, and the end of the longest time.

    >>> next_look_at(ShadowStep(hold_us=10, no_worse="roc_auc", margin=0.01, most_us=15), 100, 100)
    110
    >>> next_look_at(ShadowStep(hold_us=10, no_worse="roc_auc", margin=0.01, most_us=15), 100, 110)
    115
    """
    every = look_every_us(step)
    regular = started_at + ((now_us - started_at) // every + 1) * every
    planned = (regular, started_at + step.hold_us, started_at + most_us(step))
    return min(moment for moment in planned if moment > now_us)


def held_us(rollout: Rollout, now_us: int) -> int:
    """Return how long the present step has run, its pauses left out."""
    pausing = 0 if rollout.paused_at is None else now_us - rollout.paused_at
    return now_us - rollout.step_started_at - rollout.paused_us - pausing


def decide(rollout: Rollout, verdicts: list[StepVerdict], at_us: int) -> Decision:
    """Return what follows from a look: harm aborts at any time; undecided waits until the longest time, then aborts."""
    # Harm comes before hold and pause: who pauses a rollout to think must not keep a harmful candidate in traffic.
    if any(verdict.verdict == "abort" for verdict in verdicts):
        return "abort"
    step = rollout.steps[rollout.step]
    held = held_us(rollout, at_us)
    if held < step.hold_us or rollout.state == "paused":
        return "wait"
    if verdicts and all(verdict.verdict == "go" for verdict in verdicts):
        return "go"
    return "abort" if held >= most_us(step) else "wait"


def explain(rollout: Rollout, verdicts: list[StepVerdict]) -> str:
    """Return the sentence that says why a step ends as it does."""
    harmful = [verdict.message for verdict in verdicts if verdict.verdict == "abort"]
    if harmful:
        return "; ".join(harmful)
    open_ones = [verdict.message for verdict in verdicts if verdict.verdict == "undecided"]
    if open_ones:
        longest = format_duration(most_us(rollout.steps[rollout.step]))
        return f"undecided after {longest}, and undecided is never a pass: {'; '.join(open_ones)}"
    return "; ".join(verdict.message for verdict in verdicts)


def describe_step(step: RolloutStep) -> str:
    """Return a step in words.

    >>> describe_step(CanaryStep(weight=0.05, hold_us=6 * HOUR_US, guard=["error_rate"]))
    'canary with 5% of traffic for 6h'
    """
    hold = format_duration(step.hold_us)
    if isinstance(step, ShadowStep):
        return f"shadow for {hold}"
    return f"canary with {step.weight * 100:.4g}% of traffic for {hold}"


def describe_progress(rollout: Rollout, now_us: int) -> str:
    """Return where a rollout stands that has begun: step, since when, when judged again, last verdicts."""
    step = rollout.steps[rollout.step]
    parts = [
        describe_step(step),
        f"step {rollout.step + 1} of {len(rollout.steps)}",
        f"since {format_moment(rollout.step_started_at)}",
    ]
    if rollout.state == "paused":
        parts.append("paused")
    else:
        due_at = next_look_at(step, rollout.step_started_at + rollout.paused_us, now_us)
        parts.append(f"judged again {format_moment(due_at)}")
    found = [
        f"{step_verdict.metric} {step_verdict.verdict}: {step_verdict.message}"
        for step_verdict in rollout.verdicts
        if step_verdict.step == rollout.step
    ]
    return f"{', '.join(parts)}; {'; '.join(found) or 'no verdict yet'}"


def check_steps(steps: list[RolloutStep], task: str, guards: set[str], field: str = "spec.rollout") -> None:
    """Refuse steps that make no sense.

    Raises:
        InvalidInput: A hold, weight, margin, guard or metric breaks its rule; the field names the step.
    """
    weight = 0.0
    for index, step in enumerate(steps):
        here = f"{field}[{index}]"
        if step.hold_us <= 0:
            raise InvalidInput("a step needs time", field=f"{here}.hold", value=step.hold_us, rule="more than 0")
        if most_us(step) < step.hold_us:
            raise InvalidInput("the longest time is shorter than the hold", field=f"{here}.most", value=step.most_us)
        if isinstance(step, ShadowStep):
            _check_shadow(step, task, here)
            continue
        if not weight < step.weight <= 1.0:
            rule = "a share of traffic up to 1 that grows from canary to canary"
            raise InvalidInput("this weight does not fit", field=f"{here}.weight", value=step.weight, rule=rule)
        weight = step.weight
        _check_canary(step, guards, here)


def _check_shadow(step: ShadowStep, task: str, here: str) -> None:
    allowed = METRICS_BY_TASK.get(task, ())
    if step.no_worse not in allowed:
        rule = (
            f"for {task} one of {', '.join(allowed)}"
            if allowed
            else f"quality of {task} cannot be judged in shadow yet"
        )
        raise InvalidInput("shadow cannot judge this metric", field=f"{here}.no_worse", value=step.no_worse, rule=rule)
    if not step.margin > 0:
        rule = "more than 0: without a margin no finite number of rows proves 'not worse'"
        raise InvalidInput("the margin is too small", field=f"{here}.margin", value=step.margin, rule=rule)


def _check_canary(step: CanaryStep, guards: set[str], here: str) -> None:
    check_count(step.guard, f"{here}.guard")
    for guard in step.guard:
        if guard not in guards:
            rule = f"one of {', '.join(sorted(guards))}"
            raise InvalidInput("no guard has this name", field=f"{here}.guard", value=guard, rule=rule)
    if step.guard and step.weight == 1.0:
        rule = "less than 1: guards compare with a champion that answers too"
        raise InvalidInput("this weight does not fit", field=f"{here}.weight", value=step.weight, rule=rule)
