"""Monitoring: windows, drift, performance, labels, alerts, incidents."""

from loopwright.monitoring import channels, drift
from loopwright.monitoring.external import evaluate_range, parse_period, report
from loopwright.monitoring.incidents import (
    acknowledge,
    assign,
    get_incident,
    incidents,
    list_alerts,
    raise_alert,
    resolve,
)
from loopwright.monitoring.monitors import (
    check_spec,
    declare,
    get,
    list_monitors,
    open_windows,
    set_reference,
    start_reference,
)
from loopwright.monitoring.performance import measure, score_rows
from loopwright.monitoring.reference import build_reference
from loopwright.monitoring.sketches import Reference, reference_from_bytes, to_bytes
from loopwright.monitoring.types import (
    INCIDENT_STATES,
    Alert,
    FeatureDrift,
    Incident,
    Monitor,
    MonitorSpec,
    Performance,
    Report,
    Window,
    WindowTask,
)
from loopwright.monitoring.windows import close_window, finish_window, settle_window, window, window_task, windows

__all__ = [
    "INCIDENT_STATES",
    "Alert",
    "FeatureDrift",
    "Incident",
    "Monitor",
    "MonitorSpec",
    "Performance",
    "Reference",
    "Report",
    "Window",
    "WindowTask",
    "acknowledge",
    "assign",
    "build_reference",
    "channels",
    "check_spec",
    "close_window",
    "declare",
    "drift",
    "evaluate_range",
    "finish_window",
    "get",
    "get_incident",
    "incidents",
    "list_alerts",
    "list_monitors",
    "measure",
    "open_windows",
    "parse_period",
    "raise_alert",
    "reference_from_bytes",
    "report",
    "resolve",
    "score_rows",
    "set_reference",
    "settle_window",
    "start_reference",
    "to_bytes",
    "window",
    "window_task",
    "windows",
]
