"""Monitoring: windows, drift, performance, labels, alerts, incidents."""

from loopwright.monitoring.types import (
    INCIDENT_STATES,
    Alert,
    FeatureDrift,
    Incident,
    MonitorSpec,
    Performance,
    Window,
)

__all__ = [
    "INCIDENT_STATES",
    "Alert",
    "FeatureDrift",
    "Incident",
    "MonitorSpec",
    "Performance",
    "Window",
]
