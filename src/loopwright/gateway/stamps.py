"""What is settled about a request before it is answered: its ids and its moment.

Whoever answers it again (after a crash, in another process) makes the same ids, so the log never holds two predictions
for one request under different names.
"""

from typing import NamedTuple

from loopwright.kernel.ids import new_ulid_base, ulids_from


class Stamp(NamedTuple):
    """What makes a request's ids and moments the same if it is answered again: number of its first id, wall time."""

    base: int
    at_us: int

    @classmethod
    def now(cls, at_us: int) -> "Stamp":
        """Return a new one for a moment, microseconds UTC."""
        return cls(new_ulid_base(at_us), at_us)

    def ids(self, prefix: str, count: int) -> list[str]:
        """Return the first ids of this request."""
        return [f"{prefix}_{ulid}" for ulid in self.ulids(count)]

    def ulids(self, count: int) -> list[str]:
        """Return the first ids of this request, bare."""
        return ulids_from(self.base, count)


class Stamped(NamedTuple):
    """Ids and wall moments of a batch's rows, microseconds UTC."""

    ids: list[str]
    at_us: list[int]
