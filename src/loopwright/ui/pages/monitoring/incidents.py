"""What broke, who owns it, and what was done?"""

from loopwright import monitoring
from loopwright.governance import audit
from loopwright.ui.kit.addresses import page_of
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.kit.sentences import recent_changes

MOST_READ = 200
STATES = ("open", "acknowledged", "resolved")


def show_incidents(ask: Ask) -> View:
    """Return incidents, newest first, of one state where asked."""
    chosen = ask.asked("state")
    wanted = [chosen] if chosen in STATES else []
    found = ask(monitoring.list_incidents, states=wanted, limit=PAGE_ROWS)
    facts = {"incidents": found, "state": chosen, "states": list(STATES)}
    return View("monitoring/incidents.html", "Incidents", "Incidents", facts)


def show_incident(ask: Ask) -> View:
    """Return one incident with its alerts and what was recorded about it."""
    incident_id = ask.part("incident_id")
    incident = ask(monitoring.get_incident, incident_id=incident_id)
    events = [
        event
        for event in ask(audit.list_events, ref=incident.subject, limit=MOST_READ)
        if event.event_at >= incident.opened_at
    ]
    own = ask(audit.list_events, ref=f"{ask.project}/incident:{incident_id}", limit=50)
    told = sorted({event.position: event for event in (*events, *own)}.values(), key=lambda event: -event.position)
    facts = {
        "incident": incident,
        "alerts": ask(monitoring.list_alerts, incident_id=incident_id)[:PAGE_ROWS],
        "events": recent_changes(told, ("monitoring.window_",), 30, read=MOST_READ),
        "subject_page": page_of(incident.subject, ask.project),
    }
    return View("monitoring/incident.html", incident.title, "Incidents", facts)


ROUTES = [*page("/incidents", show_incidents), *page("/incidents/{incident_id}", show_incident)]
