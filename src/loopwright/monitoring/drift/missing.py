"""Change of the missing rate."""

from loopwright.data import profiles


def missing_change(reference: profiles.ColumnProfile, current: profiles.ColumnProfile) -> float:
    """Return the absolute difference of the shares of missing values (0..1)."""
    return abs(current.missing - reference.missing)
