"""Who did what to which ref, and why? And what waits for a decision?"""

from loopwright.governance import approvals, audit
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.kit.sentences import sentence

TOPICS = (
    "access",
    "approvals",
    "data",
    "features",
    "jobs",
    "loop",
    "monitoring",
    "pipelines",
    "projects",
    "registry",
    "serving",
    "tokens",
    "tracking",
)


def show_audit(ask: Ask) -> View:
    """Return a page of events, newest first, of one ref or type where asked."""
    ref, kind, before = ask.asked("ref"), ask.asked("type"), ask.asked_number("before")
    full = f"{ask.project}/{ref}" if ref and not ref.startswith(f"{ask.project}/") else ref
    events = ask(audit.list_events, limit=PAGE_ROWS + 1, before=before, ref=full or None, type_prefix=kind or None)
    shown = [sentence(event) for event in events[:PAGE_ROWS]]
    facts = {
        "events": shown,
        "ref": ref,
        "type": kind,
        "before": before,
        "topics": list(TOPICS),
        "next": shown[-1].position if len(events) > PAGE_ROWS else None,
    }
    return View("governance/audit.html", "Audit", "Audit", facts)


def show_approvals(ask: Ask) -> View:
    """Return what waits for a decision, and the decisions made."""
    found = ask(approvals.list_approvals)
    waiting = [approval for approval in found if approval.state == "waiting"]
    decided = [approval for approval in found if approval.state != "waiting"]
    facts = {"waiting": waiting[:PAGE_ROWS], "decided": decided[:PAGE_ROWS], "decided_count": len(decided)}
    return View("governance/approvals.html", "Approvals", "Approvals", facts)


ROUTES = [*page("/audit", show_audit), *page("/approvals", show_approvals)]
