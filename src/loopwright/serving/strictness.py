"""What of a deployment's rules a new declaration would loosen. Pure functions."""

from collections.abc import Sequence
from typing import Any

from loopwright.kernel.documents import to_json
from loopwright.registry import GateSpec
from loopwright.serving.types import CanaryStep, DeploymentSpec, RolloutStep, ShadowStep

_LIMITS: dict[str, tuple[str, int]] = {
    "at_least": ("value", 1),
    "at_most": ("value", -1),
    "beats_champion": ("margin", 1),
    "latency": ("p99_ms", -1),
}
"""The argument in which a gate is stricter, and whether more of it is (1) or less (-1)."""
_PLAIN = (str, int, float, type(None))
"""Arguments that tell gates apart as they are: 1 is 1.0 there, as where gates are compared."""


def is_as_strict(gate: GateSpec, before: GateSpec) -> bool:
    """Say whether whatever passes a gate would have passed the one before.

    >>> before = GateSpec("at_least", {"metric": "f1", "value": 0.7})
    >>> is_as_strict(GateSpec("at_least", {"metric": "f1", "value": 0.8}), before)
    True
    """
    if gate == before:
        return True
    if gate.kind != before.kind or gate.kind not in _LIMITS:
        return False
    name, sign = _LIMITS[gate.kind]
    rest, rest_before = (
        {key: value for key, value in gate_spec.args.items() if key != name} for gate_spec in (gate, before)
    )
    limit, limit_before = gate.args.get(name, 0.0), before.args.get(name, 0.0)
    is_number = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (limit, limit_before))
    return rest == rest_before and is_number and bool(sign * limit >= sign * limit_before)


def missing_gates(gates: Sequence[GateSpec], asked: Sequence[GateSpec]) -> list[GateSpec]:
    """Return the gates asked for that none of ``gates`` stands for.

    Of those that differ in a limit alone the strictest is compared: every change of others waits meanwhile.
    """
    strictest: dict[Any, GateSpec] = {}
    for gate in gates:
        known = strictest.setdefault(_apart_from_limit(gate), gate)
        if known is not gate and is_as_strict(gate, known):
            strictest[_apart_from_limit(gate)] = gate
    alike = ((strictest.get(_apart_from_limit(before)), before) for before in asked)
    return [before for gate, before in alike if gate is None or not is_as_strict(gate, before)]


def _apart_from_limit(gate: GateSpec) -> Any:
    """Return what tells gates apart that cannot stand for each other."""
    limit = _LIMITS.get(gate.kind, ("", 0))[0]
    rest = sorted((name, value) for name, value in gate.args.items() if name != limit)
    return gate.kind, tuple((name, value if isinstance(value, _PLAIN) else to_json(value)) for name, value in rest)


def loosened_decisions(before: DeploymentSpec, after: DeploymentSpec) -> list[str]:
    """Return in words which gates and approvals fall away or get weaker."""
    found = [f"the gate {describe_gate(gate)} is gone or weaker" for gate in missing_gates(after.gates, before.gates)]
    for moment, name in (("first", "a first version"), ("retrain", "a retrained version")):
        if getattr(before.approve, moment) == "person" and getattr(after.approve, moment) != "person":
            found.append(f"nobody approves {name}")
    if after.approve.allows_own and not before.approve.allows_own:
        found.append("whoever trained a version may approve it")
    return found


def loosened_on_the_way(before: DeploymentSpec, after: DeploymentSpec) -> list[str]:
    """Return in words what of the way of a version to champion falls away or gets weaker: decisions, steps, guards."""
    found = loosened_decisions(before, after)
    left = list(after.rollout)
    for number, step in enumerate(before.rollout, 1):
        place = next((index for index, one in enumerate(left) if _is_step_as_strict(one, step)), None)
        if place is None:
            found.append(f"step {number} of the rollout is gone or weaker")
        else:
            del left[: place + 1]
    return found


def loosened(before: DeploymentSpec, after: DeploymentSpec) -> list[str]:
    """Return in words what falls away or gets weaker: gates, approvals, steps, guards, what the log leaves out."""
    found = loosened_on_the_way(before, after)
    if gone := sorted({*before.personal} - {*after.personal}):
        found.append(f"the log keeps {', '.join(gone)}")
    return found


def describe_gate(gate: GateSpec) -> str:
    """Return a gate in words, such as ``at_least(metric=roc_auc, value=0.65)``."""
    return f"{gate.kind}({', '.join(f'{name}={value}' for name, value in sorted(gate.args.items()))})"


def _is_step_as_strict(step: RolloutStep, before: RolloutStep) -> bool:
    if step.hold_us < before.hold_us:
        return False
    if isinstance(step, ShadowStep) and isinstance(before, ShadowStep):
        is_same = step.no_worse == before.no_worse
        return is_same and step.margin <= before.margin and step.least_labels >= before.least_labels
    if isinstance(step, CanaryStep) and isinstance(before, CanaryStep):
        watches = {*step.guard} >= {*before.guard}
        return watches and step.weight <= before.weight and step.least_rows >= before.least_rows
    return False
