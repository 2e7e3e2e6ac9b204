"""Gate: no dataset version behind a model is quarantined."""

from loopwright.registry.gates.runs import Finding
from loopwright.registry.types import Evidence


def data_checks(evidence: Evidence) -> Finding:
    """Pass if every dataset version the training set reads passed its checks."""
    if evidence.quarantined:
        return "failed", f"trained on quarantined data: {', '.join(evidence.quarantined)}"
    return "passed", "every dataset version behind it passed its checks"
