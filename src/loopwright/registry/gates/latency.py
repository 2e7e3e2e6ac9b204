"""Gate: a version answers fast enough."""

import math

from loopwright.registry.gates.runs import Finding
from loopwright.registry.types import Evidence


def latency(evidence: Evidence, p99_ms: float) -> Finding:
    """Pass if the 99th percentile of single-row predictions is ``p99_ms`` milliseconds or less."""
    measured = evidence.latency_p99_ms
    if measured is None or math.isnan(measured):
        return "undecided", "latency was not measured"
    message = f"p99 of one row {measured:.3g} ms; asked: at most {p99_ms:.3g} ms"
    return ("passed" if measured <= p99_ms else "failed"), message
