"""Gate: what was served is what the datasets say."""

from loopwright.registry.gates.runs import Finding
from loopwright.registry.types import Evidence


def no_skew(evidence: Evidence) -> Finding:
    """Pass if the newest audits of the model's deployments found no difference.

    A model that nothing was audited of yet passes, and it is said: the first has served nothing. An audit that was due
    and did not happen decides nothing.
    """
    if evidence.skews:
        return "failed", f"what was served differs from the datasets: {'; '.join(evidence.skews)}"
    if evidence.unaudited:
        return "undecided", f"the last audit that was due did not happen of {', '.join(evidence.unaudited)}"
    if not evidence.is_audited:
        return "passed", "no audit has compared what was served with the datasets yet"
    return "passed", "the last audits found no difference between what was served and the datasets"
