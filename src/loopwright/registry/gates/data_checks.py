"""Gate: the data behind a model passed its checks."""

from loopwright.registry.gates.runs import Finding
from loopwright.registry.types import Evidence


def data_checks(evidence: Evidence) -> Finding:
    """Pass if no dataset it rests on has its newest rows in quarantine; those that a person released are named.

    What nobody knows the training data of is undecided.
    """
    if evidence.quarantined:
        return "failed", f"in quarantine, so that older data was read: {', '.join(evidence.quarantined)}"
    if not evidence.is_data_known:
        return "undecided", "what it was trained on is not on record"
    if evidence.released:
        return "passed", f"every check passed but for what a person released: {', '.join(evidence.released)}"
    return "passed", "every dataset version behind it passed its checks"
