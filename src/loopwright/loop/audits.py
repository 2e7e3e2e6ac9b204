"""Audits of skew on a schedule: what was served against what the datasets say, told and brought to a person.

A monitor that says ``audit`` has each such stretch of its deployment audited once a window that ends it closes, as far
as the datasets reach by then; what they do not hold yet waits for the next one. Differences are an incident of the kind
``skew`` with the suspected causes, and a later audit that finds none resolves it.
"""

from contextlib import suppress

from loopwright import monitoring, serving
from loopwright.governance import audit
from loopwright.kernel.errors import NotFound
from loopwright.kernel.events import event_type
from loopwright.kernel.verbs import query, verb
from loopwright.loop.events import SkewAudited
from loopwright.loop.types import AuditDue, SkewFound, Skews
from loopwright.monitoring import Incident
from loopwright.store import jobs
from loopwright.store.tx import Tx
from loopwright.store.types import Job

KIND = "skew"
AUDITED_ROWS = 1000
_MOST_STRETCHES = 10
"""Stretches that wait for rows of the datasets before the oldest is given up."""
_MOST_NAMED = 5
_OPEN = ("queued", "running")


def start_due(tx: Tx, window: monitoring.WindowClosed) -> None:
    """Start the audit that a closed window makes due, if its deployment is audited."""
    audit_us = monitoring.get(tx, deployment=window.deployment).spec.audit_us
    if not audit_us or window.end_at // audit_us == window.start_at // audit_us:
        return
    if serving.get(tx, deployment=window.deployment).spec.is_external:
        return
    end_at = window.end_at // audit_us * audit_us
    if _due_job(tx, window.deployment, end_at) is not None:
        return
    ref = tx.ref("deployment", window.deployment)
    begin_at = max(_audited_until(tx, ref, end_at - audit_us), end_at - _MOST_STRETCHES * audit_us)
    work = AuditDue(window.deployment, AUDITED_ROWS, begin_at, end_at)
    tx.start_job(work, ref, job_id=_job_id(window.deployment, end_at))


def _job_id(deployment: str, end_at: int) -> str:
    return f"job_skew-{deployment}-{end_at}"


def _due_job(tx: Tx, deployment: str, end_at: int) -> Job | None:
    """Return the audit of the stretch that ends at a moment; None where none was started, or its row is gone."""
    with suppress(NotFound):
        return jobs.get(tx, job_id=_job_id(deployment, end_at))
    return None


def _audits(tx: Tx, ref: str) -> list[SkewAudited]:
    """Return what the newest audits of a deployment told, newest first."""
    told = audit.list_events(tx, limit=_MOST_STRETCHES, ref=ref, type_prefix=event_type(SkewAudited))
    return [event.read(SkewAudited) for event in told]


def _audited_until(tx: Tx, ref: str, otherwise: int) -> int:
    told = _audits(tx, ref)
    return told[0].until if told else otherwise


@query("loop.find_skews", internal=True)
def find_skews(tx: Tx, *, model: str) -> Skews:
    """Return what the newest audit of each of a model's deployments says.

    What was told counts, not the incident about it: a person may close that, and has mended nothing by it.
    """
    names = [one.spec.name for one in serving.list_deployments(tx, model=model)]
    told = {name: _audits(tx, tx.ref("deployment", name)) for name in names}
    compared = [next(one for one in some if one.rows) for some in told.values() if any(one.rows for one in some)]
    return Skews(
        is_audited=bool(compared),
        found=[f"{one.deployment}: {_told(one)}" for one in compared if one.unequal_rows],
        unaudited=[name for name in names if _is_overdue(tx, name)],
    )


def _told(facts: SkewAudited) -> str:
    of = ", ".join(str(feature["column"]) for feature in facts.features[:_MOST_NAMED])
    return f"{facts.unequal_rows} of {facts.rows} rows differ{f', in {of}' if of else ''}"


def _is_overdue(tx: Tx, deployment: str) -> bool:
    """Say whether the last audit that was due did not happen; one that is under way may take until the next is due."""
    try:
        audit_us = monitoring.get(tx, deployment=deployment).spec.audit_us
    except NotFound:
        return False
    newest = monitoring.list_windows(tx, deployment=deployment, limit=1) if audit_us else []
    for window in newest:
        due_at = window.end_at // audit_us * audit_us
        last, before = _due_job(tx, deployment, due_at), _due_job(tx, deployment, due_at - audit_us)
        judged = before if last is not None and last.state in _OPEN else last
        return judged is not None and judged.state != "done"
    return False


@verb("loop.finish_skew_audit", changes=Incident, internal=True)
def finish_skew_audit(tx: Tx, *, deployment: str, start_at: int, until: int, found: SkewFound) -> None:
    """Tell what an audit that was due found of the rows served in ``[start_at, until)``."""
    subject = tx.ref("deployment", deployment)
    facts = SkewAudited(deployment, start_at, until, found.rows, found.unequal_rows, found.features)
    tx.emit(facts, subject)
    if facts.unequal_rows:
        message = f"{facts.unequal_rows} of {facts.rows} served rows are not what the datasets say: {found.told}"
        monitoring.raise_alert(
            tx,
            subject=subject,
            kind=KIND,
            message=message,
            facts={"features": facts.features, "start_at": start_at, "end_at": until},
            at=until,
            key=f"{deployment}/{until}/{KIND}",
        )
        return
    for incident in monitoring.list_incidents(tx, subject=subject) if facts.rows else []:
        if incident.kind == KIND and incident.state != "resolved":
            reason = f"{facts.rows} rows served since are what the datasets say"
            monitoring.resolve(tx, incident_id=incident.incident_id, reason=reason, at=until)
