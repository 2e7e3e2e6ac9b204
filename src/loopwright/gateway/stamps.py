"""What is settled about a request before it is answered: its ids and its moment.

Whoever answers it again (after a crash, in another process) makes the same ids, so the log never holds two predictions
for one request under different names. So does another gateway, where the request's key names its moment.
"""

import hashlib
from typing import NamedTuple

from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.ids import new_ulid_base, ulids_from
from loopwright.wire.keys import moment_of

BEHIND_US, AHEAD_US = 120 * SECOND_US, 5 * SECOND_US
"""How far behind and ahead of our clock the moment of a key may be; nobody repeats a request for as long."""


class Stamp(NamedTuple):
    """What makes a request's ids and moments the same if it is answered again: number of its first id, wall time."""

    base: int
    at_us: int

    @classmethod
    def now(cls, at_us: int) -> "Stamp":
        """Return a new one for a moment, microseconds UTC."""
        return cls(new_ulid_base(at_us), at_us)

    @classmethod
    def of_request(cls, project: str, key: str, digest: bytes, at_us: int) -> "Stamp":
        """Return the stamp of a request under a key; the same ids whoever makes it, where the key names its moment.

        Args:
            project: Whose.
            key: Its key.
            digest: Of what is asked for; another request under the same key gets other ids.
            at_us: The present, microseconds UTC.
        """
        moment = moment_of(key)
        if moment is None or not -AHEAD_US <= at_us - moment <= BEHIND_US:
            return cls.now(at_us)
        chance = hashlib.sha256(f"{project}\0{key}\0".encode() + digest).digest()
        return cls((moment // 1000 << 80) | (int.from_bytes(chance[:8]) >> 1) << 14, at_us)

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
