"""What of a monitor's rules a new declaration would loosen: what is told less, later or never. Pure functions."""

from collections.abc import Iterator

from loopwright.governance import Weaker, loosening
from loopwright.kernel.clock import format_duration
from loopwright.monitoring.types import DecayLimit, MonitorSpec, PolicyAnswers

_LIMITS = ("above", "persist", "decay")
"""The higher, the less is told."""
_OTHER_MEASURES = ("drift", "performance", "threshold")
"""What is measured; by another measure the old limits mean something else."""
_STRETCHES = ("every_us", "over_us", "span_us", "label_lag_us", "grace_us")
"""Longer ones tell later and spread what is short over more rows, shorter ones may hold too few rows or labels to be
judged at all: so no other length is known to be as strict."""
_LISTS = (("channels", "nobody is told by"), ("segments", "quality is not told by"))


def loosened(
    before: MonitorSpec, after: MonitorSpec, policy_before: PolicyAnswers | None, policy: PolicyAnswers | None
) -> list[Weaker]:
    """Return what falls away or gets weaker, of specs as they are shown, with their metric filled in."""
    answered = _answered(policy_before or PolicyAnswers(), policy or PolicyAnswers())
    return [*_limits(before, after), *_measures(before, after), *_lists(before, after), *answered]


def _limits(before: MonitorSpec, after: MonitorSpec) -> Iterator[Weaker]:
    for field in _LIMITS:
        was, will_be = getattr(before, field), getattr(after, field)
        if not will_be <= was:  # what is no number is no limit
            yield loosening.changed(field, was, will_be)
    if after.usual and not before.usual:
        yield loosening.changed("usual", before.usual, after.usual)


def _measures(before: MonitorSpec, after: MonitorSpec) -> Iterator[Weaker]:
    for field in (*_OTHER_MEASURES, *_STRETCHES):
        was, will_be = getattr(before, field), getattr(after, field)
        if was != will_be and field in _STRETCHES:
            yield loosening.changed(field.removesuffix("_us"), format_duration(was), format_duration(will_be))
        elif was != will_be:
            yield loosening.changed(field, was, will_be)


def _lists(before: MonitorSpec, after: MonitorSpec) -> Iterator[Weaker]:
    for field, words in _LISTS:
        if gone := sorted({*getattr(before, field)} - {*getattr(after, field)}):
            yield Weaker(field, f"{field}: {words} {', '.join(gone)}")
    if before.audit_us and not 0 < after.audit_us <= before.audit_us:
        now = format_duration(after.audit_us) if after.audit_us else "never"
        yield loosening.changed("audit", format_duration(before.audit_us), now)
    if ignored := sorted({*after.ignore} - {*before.ignore}):
        yield Weaker("ignore", f"ignore: no drift is told of {', '.join(ignored)}")


def _answered(before: PolicyAnswers, after: PolicyAnswers) -> list[Weaker]:
    """Return what calls for no person any more because a policy answers it, and by which limits it did."""
    silenced = [kind for kind in ("drift", "decay") if getattr(after, kind) and not getattr(before, kind)]
    found = [Weaker(f"policy.{kind}", f"policy.{kind}: a policy answers it, no person is called") for kind in silenced]
    if not after.decay:
        return found
    for limit in before.decay:
        if not any(_is_as_strict(other, limit) for other in after.decay):
            told = f"decay by {limit.by} on {limit.least_labels} labels is no longer enough"
            found.append(Weaker("policy.decay", f"policy.decay: {told}"))
    return found


def _is_as_strict(limit: DecayLimit, before: DecayLimit) -> bool:
    is_lower = limit.by <= before.by and limit.least_labels <= before.least_labels
    return is_lower and limit.is_share == before.is_share
