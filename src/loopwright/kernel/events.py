"""Events: one recorded change. The log of events is the audit trail."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from loopwright.kernel.documents import convert


class Facts(msgspec.Struct, frozen=True):
    """What one type of event tells beside who, when and why; each type has a struct, in its room's ``events.py``.

    Fields are JSON-able. A field that joins later has a default, so that what was recorded before can be read.
    """


F = TypeVar("F", bound=Facts)
FactsType = type[F]

EVENT_TYPES: dict[str, type[Facts]] = {}
"""The struct of each type of event, filled as rooms are imported."""
_NAMES: dict[type[Facts], str] = {}


def event(name: str) -> Callable[[type[F]], type[F]]:
    """Mark a struct as the facts of events of a type, ``room.past_participle`` such as ``registry.alias_set``."""

    def keep(kind: type[F]) -> type[F]:
        if name in EVENT_TYPES and EVENT_TYPES[name].__qualname__ != kind.__qualname__:
            raise RuntimeError(f"two structs tell of {name}")
        EVENT_TYPES[name] = kind
        _NAMES[kind] = name
        return kind

    return keep


def event_type(kind: type[Facts]) -> str:
    """Return the type whose facts a struct holds."""
    return _NAMES[kind]


class Change(msgspec.Struct, frozen=True):
    """What every event has told from the first version on; hashes of the log are over these fields in this order."""

    event_id: int
    project: str
    type: str
    ref: str
    actor: str
    event_at: int
    recorded_at: int
    reason: str
    payload: dict[str, Any]
    cause: int | None = None
    position: int = 0
    chain: str = ""


class Event(Change, frozen=True):
    """One change: who did what to which ref, when and why.

    ``event_at`` is the project's clock, ``recorded_at`` the wall clock, both microseconds UTC. ``position`` is gapless
    and ``chain`` hashes this event onto the one before; both are 0 and empty until sealed. ``cause`` is the position of
    the event that a reaction answered. ``token_id`` names the token of the call, ``client`` the address that it came
    from; None where the platform itself acted, where no token is asked for, and in events of older versions.
    """

    token_id: str | None = None
    client: str | None = None

    def read(self, kind: FactsType[F]) -> F:
        """Return the facts of this event as the struct of its type."""
        return convert(self.payload, kind, self.type)
