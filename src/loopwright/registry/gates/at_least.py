"""Gate: a metric reaches a value."""

from loopwright.registry.gates.runs import Finding, measured, told
from loopwright.registry.types import Evidence, Verdict


def at_least(evidence: Evidence, metric: str, value: float) -> Finding:
    """Pass if the held-out metric is ``value`` or more."""
    score = measured(evidence, metric)
    if isinstance(score, tuple):
        return score
    verdict: Verdict = "passed" if score >= value else "failed"
    return verdict, f"{told(evidence, metric, score)}; asked: at least {value:.4g}"
