"""What of a retrain policy's rules a new declaration would loosen: how often it may act, and what makes it act.

The gates that its models pass are their deployment's, see ``serving/strictness.py``.
"""

from loopwright.governance import Weaker, loosening
from loopwright.kernel.clock import format_duration
from loopwright.loop.types import RetrainSpec, When

_LIMITS = {"drift": ("features",), "decay": ("by", "least_labels"), "older_than": ("age_us",)}
"""The arguments in which a trigger fires the later, the higher they are."""


def loosened(before: RetrainSpec, after: RetrainSpec | None) -> list[Weaker]:
    """Return what falls away or gets weaker; a policy that is gone answers nothing any more."""
    if after is None:
        return [Weaker("retrains", f"the policy that trains {before.train} is gone")]
    found = []
    # In a stretch of the old length lie parts of so many of the new one.
    stretches = -(-before.per_us // after.per_us) if after.per_us > 0 else 0
    if after.per_us <= 0 or after.most * stretches > before.most:
        found.append(loosening.changed("budget", _budget(before), _budget(after)))
    for trigger in before.when:
        if not any(_is_as_strict(other, trigger) for other in after.when):
            same = next((other for other in after.when if other.kind == trigger.kind), None)
            found.append(loosening.changed("when", _words(trigger), "nothing" if same is None else _words(same)))
    return found


def _is_as_strict(trigger: When, before: When) -> bool:
    """Say whether a trigger fires whenever the one before would have."""
    if trigger == before:
        return True
    limits = _LIMITS[before.kind]
    if trigger.kind != before.kind or _rest(trigger, limits) != _rest(before, limits):
        return False
    return all(trigger.args.get(name, 0) <= before.args.get(name, 0) for name in limits)


def _rest(trigger: When, limits: tuple[str, ...]) -> dict[str, object]:
    return {name: value for name, value in trigger.args.items() if name not in limits}


def _budget(policy: RetrainSpec) -> str:
    return f"{policy.most} in {format_duration(policy.per_us)}"


def _words(trigger: When) -> str:
    told = {
        name.removesuffix("_us"): format_duration(value) if name.endswith("_us") else value
        for name, value in sorted(trigger.args.items())
    }
    return f"{trigger.kind}({', '.join(f'{name}={value}' for name, value in told.items())})"
