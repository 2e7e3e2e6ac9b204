"""Events: one recorded change. The log of events is the audit trail."""

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One change: who did what to which ref, when and why.

    ``event_at`` is the project's clock, ``recorded_at`` the wall clock, both microseconds UTC. ``position`` is gapless
    and ``chain`` hashes this event onto the one before; both are 0 and empty until sealed. ``cause`` is the position of
    the event that a reaction answered.
    """

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
