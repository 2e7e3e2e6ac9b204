"""Monitoring: windows, drift, performance, labels, alerts, incidents.

What computes (the modules ``performance`` and ``reference``) loads Polars, so it is imported only when somebody asks.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.monitoring import channels, drift, ledgers
    from loopwright.monitoring.events import (
        AlertFired,
        IncidentAcknowledged,
        IncidentAssigned,
        IncidentOpened,
        IncidentReopened,
        IncidentResolved,
        MonitorDeclared,
        RangeStarted,
        ReferenceSet,
        ReferenceStarted,
        WindowClosed,
        WindowRestated,
        WindowSettled,
        WindowsOpened,
        WindowStarted,
    )
    from loopwright.monitoring.incidents import (
        acknowledge,
        assign,
        get_incident,
        list_alerts,
        list_incidents,
        live_incidents,
        raise_alert,
        resolve,
        waiting_incidents,
    )
    from loopwright.monitoring.monitors import (
        check_spec,
        declare,
        find_loosening,
        open_windows,
        set_reference,
        start_reference,
    )
    from loopwright.monitoring.performance import measure, score_rows
    from loopwright.monitoring.profiling import countable_chunks, start_profiling
    from loopwright.monitoring.ranges import evaluate_range, parse_period, report
    from loopwright.monitoring.reference import Reference, build_reference, reference_from_bytes
    from loopwright.monitoring.targets import channel_target, keep_targets, shown_spec
    from loopwright.monitoring.types import (
        INCIDENT_STATES,
        Alert,
        CurrentWindow,
        DecayLimit,
        DeliverAlert,
        EvaluateRange,
        EvaluateWindow,
        FeatureDrift,
        Incident,
        Monitor,
        MonitorSpec,
        Performance,
        PolicyAnswers,
        Report,
        Window,
        WindowTask,
    )
    from loopwright.monitoring.watched import current_window, get, list_monitors
    from loopwright.monitoring.windows import (
        alert_of,
        close_window,
        finish_window,
        list_windows,
        newest_windows,
        oldest_closed,
        settle_window,
        window,
        window_task,
    )

__getattr__ = later(__name__)

__all__ = [
    "INCIDENT_STATES",
    "Alert",
    "AlertFired",
    "CurrentWindow",
    "DecayLimit",
    "DeliverAlert",
    "EvaluateRange",
    "EvaluateWindow",
    "FeatureDrift",
    "Incident",
    "IncidentAcknowledged",
    "IncidentAssigned",
    "IncidentOpened",
    "IncidentReopened",
    "IncidentResolved",
    "Monitor",
    "MonitorDeclared",
    "MonitorSpec",
    "Performance",
    "PolicyAnswers",
    "RangeStarted",
    "Reference",
    "ReferenceSet",
    "ReferenceStarted",
    "Report",
    "Window",
    "WindowClosed",
    "WindowRestated",
    "WindowSettled",
    "WindowStarted",
    "WindowTask",
    "WindowsOpened",
    "acknowledge",
    "alert_of",
    "assign",
    "build_reference",
    "channel_target",
    "channels",
    "check_spec",
    "close_window",
    "countable_chunks",
    "current_window",
    "declare",
    "drift",
    "evaluate_range",
    "find_loosening",
    "finish_window",
    "get",
    "get_incident",
    "keep_targets",
    "ledgers",
    "list_alerts",
    "list_incidents",
    "list_monitors",
    "list_windows",
    "live_incidents",
    "measure",
    "newest_windows",
    "oldest_closed",
    "open_windows",
    "parse_period",
    "raise_alert",
    "reference_from_bytes",
    "report",
    "resolve",
    "score_rows",
    "set_reference",
    "settle_window",
    "shown_spec",
    "start_profiling",
    "start_reference",
    "waiting_incidents",
    "window",
    "window_task",
]
