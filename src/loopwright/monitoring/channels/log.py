"""The worker's log as a channel."""

import logging

from loopwright.monitoring.channels import Notice

log = logging.getLogger("loopwright.alerts")


def send(target: str, notice: Notice, allowed_hosts: frozenset[str]) -> None:
    """Write one line; ``target`` and ``allowed_hosts`` mean nothing here."""
    level = logging.ERROR if notice.incident.severity == "critical" else logging.WARNING
    log.log(level, "%s", notice)
