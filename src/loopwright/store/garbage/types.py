"""Structs of garbage collection."""

import msgspec


class Freed(msgspec.Struct, frozen=True):
    """Files of one kind: how many, and their bytes."""

    what: str
    files: int
    size_bytes: int


class Garbage(msgspec.Struct, frozen=True):
    """What a collection freed, or what it would free where it was only asked for its plan.

    ``waiting`` is what no row names and is not old enough, ``next_at`` when the first of it is (wall, microseconds
    UTC); ``kept`` is what rows name, by what for.
    """

    is_plan: bool
    freed: list[Freed]
    waiting: Freed
    next_at: int | None
    kept: list[Freed]

    @property
    def freed_bytes(self) -> int:
        """Bytes of everything that was freed."""
        return sum(freed.size_bytes for freed in self.freed)
