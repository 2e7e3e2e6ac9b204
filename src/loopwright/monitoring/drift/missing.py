"""Change of the missing rate."""

from loopwright.monitoring.sketches import Sketch


def missing_change(reference: Sketch, current: Sketch) -> float:
    """Return the absolute difference of the shares of missing values (0..1)."""
    return abs(current.missing - reference.missing)
