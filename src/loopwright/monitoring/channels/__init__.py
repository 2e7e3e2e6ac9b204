"""Channels that hear of incidents, one file each: functions ``(target, notice, allowed_hosts)``, called from a job."""

from typing import Literal

import msgspec

from loopwright.kernel.plugins import add_built_in
from loopwright.monitoring.types import Incident

add_built_in(
    "alert_channels",
    {
        "log": "loopwright.monitoring.channels.log:send",
        "webhook": "loopwright.monitoring.channels.webhook:send",
    },
)

NEED_TARGET = frozenset({"webhook"})
"""Channels that mean nothing without a target behind the colon."""


class Notice(msgspec.Struct, frozen=True):
    """What a channel is told."""

    project: str
    change: Literal["opened", "reopened", "resolved"]
    incident: Incident

    def __str__(self) -> str:
        """Return one line for people."""
        incident = self.incident
        reason = f" ({incident.resolution})" if self.change == "resolved" else ""
        return f"{incident.severity} {incident.kind} {self.change} on {incident.subject}: {incident.title}{reason}"
