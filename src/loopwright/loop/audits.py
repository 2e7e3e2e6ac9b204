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
from loopwright.loop.types import AuditSkew, SkewFound
from loopwright.monitoring import Incident
from loopwright.store import jobs
from loopwright.store.tx import Tx

KIND = "skew"
AUDITED_ROWS = 1000
_MOST_STRETCHES = 10
"""Stretches that wait for rows of the datasets before the oldest is given up."""


def start_due(tx: Tx, window: monitoring.WindowClosed) -> None:
    """Start the audit that a closed window makes due, if its deployment is audited."""
    audit_us = monitoring.get(tx, deployment=window.deployment).spec.audit_us
    if not audit_us or window.end_at // audit_us == window.start_at // audit_us:
        return
    if serving.get(tx, deployment=window.deployment).spec.is_external:
        return
    end_at = window.end_at // audit_us * audit_us
    job_id = f"job_skew-{window.deployment}-{end_at}"
    with suppress(NotFound):
        jobs.get(tx, job_id=job_id)
        return
    ref = tx.ref("deployment", window.deployment)
    begin_at = max(_audited_until(tx, ref, end_at - audit_us), end_at - _MOST_STRETCHES * audit_us)
    work = AuditSkew(window.deployment, AUDITED_ROWS, begin_at, end_at, is_due=True)
    tx.start_job(work, ref, job_id=job_id)


def _audited_until(tx: Tx, ref: str, otherwise: int) -> int:
    last = audit.list_events(tx, limit=1, ref=ref, type_prefix=event_type(SkewAudited))
    return last[0].read(SkewAudited).until if last else otherwise


@query("loop.find_skews", internal=True)
def find_skews(tx: Tx, *, model: str) -> tuple[bool, list[str]]:
    """Say whether what a model's deployments served was audited, and what was found that nobody mended."""
    refs = [tx.ref("deployment", one.spec.name) for one in serving.list_deployments(tx, model=model)]
    live = [one for ref in refs for one in monitoring.incidents(tx, subject=ref, kind=KIND)]
    is_audited = any(audit.list_events(tx, limit=1, ref=ref, type_prefix=event_type(SkewAudited)) for ref in refs)
    return is_audited, [incident.title for incident in live if incident.state != "resolved"]


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
    for incident in monitoring.incidents(tx, subject=subject) if facts.rows else []:
        if incident.kind == KIND and incident.state != "resolved":
            reason = f"{facts.rows} rows served since are what the datasets say"
            monitoring.resolve(tx, incident_id=incident.incident_id, reason=reason, at=until)
