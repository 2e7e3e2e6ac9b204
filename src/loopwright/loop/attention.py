"""Attention: everything in a project that needs a person, in one list, and what answers each.

The only place that says so: ``loopwright status``, the pages, their JSON twins and the metrics read this list. A thing
is told once: where an incident tells of what stands here with an answer of its own, the two are one need.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from loopwright import data, monitoring, pipelines, serving
from loopwright.data import ImportRequest
from loopwright.features import MaterializeRequest
from loopwright.governance import approvals, audit
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_duration, format_moment
from loopwright.kernel.events import event_type
from loopwright.kernel.refs import parse_ref
from loopwright.kernel.verbs import Count, query
from loopwright.loop import sql
from loopwright.loop.needs import NEED_KINDS, SEVERITIES, Answer, Need, NeedKind
from loopwright.loop.platform_needs import platform_needs
from loopwright.monitoring import DeliverAlert, EvaluateRange, EvaluateWindow, Incident
from loopwright.serving import GatewayLease, ReleaseFailed, ScoreSpec, Trouble
from loopwright.store import jobs
from loopwright.store.doubts import Doubt
from loopwright.store.tx import Tx
from loopwright.store.types import Job
from loopwright.store.unwritable import HOW_TO_FREE
from loopwright.store.work import kind_of

_MENDS = {
    "child": "deploy another version, or roll back",
    "disk": f"give its folder back to it, or {HOW_TO_FREE}",
    "sealing": "correct the cause; it is tried again by itself, and no row is lost meanwhile",
    "spool": "stop it, loopwright salvage, start it again",
    "store": "see what it says; loopwright doctor looks at the store",
    "topic": "see what it says; messages that were not read come as soon as they can be",
    "stranger": "look whose file it is, and take it away",
}
"""What a person does about a gateway's trouble."""
_LOGS = "loopwright logs gateway"
_JOB_KINDS: dict[str, NeedKind] = {kind_of(ImportRequest).name: "import", kind_of(MaterializeRequest).name: "fill"}
LASTING = tuple(kind_of(work).name for work in (DeliverAlert, EvaluateRange, EvaluateWindow, ScoreSpec))
"""Kinds of jobs of which each does something else: a window that was never evaluated stays so when the next one is."""
MOST_JOBS = 100
"""Failed jobs that are told one by one, the newest; those before them are told together."""


class Attention(msgspec.Struct, frozen=True):
    """What needs a person: the most urgent; how many in all, by kind, and of how many an incident tells."""

    needs: list[Need]
    total: int
    by_kind: dict[str, int]
    incidents: int


@query("loop.attention")
def attention(tx: Tx, *, limit: Count = 100) -> Attention:
    """Return what needs a person, most urgent first, the newest of them before the others."""
    needs = find_needs(tx)
    counted = {kind: sum(need.count for need in needs if need.kind == kind) for kind in NEED_KINDS}
    by_kind = {str(kind): count for kind, count in counted.items() if count}
    return Attention(needs[:limit], sum(by_kind.values()), by_kind, sum(bool(need.incident_id) for need in needs))


def find_needs(tx: Tx) -> list[Need]:
    """Return everything that needs a person, in the order of ``attention``."""
    leases = serving.list_gateways(tx)
    found = [*_approvals(tx), *_with_incidents(tx, leases), *_late_feeds(tx), *_gateways(tx, leases)]
    found += platform_needs(tx)
    return sorted(found, key=_urgency)


def _urgency(need: Need) -> tuple[bool, int, int]:
    """Return what needs are told by: a database that cannot be written first, for what rows say of now is old then."""
    at = need.event_at or need.recorded_at or 0
    return need.kind != "database", SEVERITIES.index(need.severity), -at


def _with_incidents(tx: Tx, leases: Sequence[GatewayLease]) -> Iterator[Need]:
    """Yield what incidents may tell of too, joined with its incident, then the incidents that stand alone."""
    left = {incident.incident_id: incident for incident in monitoring.waiting_incidents(tx)}
    for need, subject, kinds in _told_twice(tx, leases):
        same = next(
            (incident for incident in left.values() if incident.subject == subject and incident.kind in kinds), None
        )
        if same is None:
            yield need
        else:
            del left[same.incident_id]
            yield _joined(need, same)
    for incident in left.values():
        yield _incident(incident)


def _told_twice(tx: Tx, leases: Sequence[GatewayLease]) -> Iterator[tuple[Need, str, tuple[str, ...]]]:
    """Yield needs with the subject and the kinds of the incident that tells of the same."""
    for need in _quarantines(tx):
        yield need, need.ref, ("data",)
    for need in _pipelines(tx):
        retrains = sql.list_retrains(tx, execution_id=parse_ref(need.ref).name)
        yield need, tx.ref("deployment", retrains[0].deployment) if retrains else need.ref, ("retrain", "pipeline")
    for need in _jobs(tx):
        yield need, need.ref, ("job",)
    for need in _releases(tx, leases):
        yield need, need.ref, ("release",)


def _joined(need: Need, incident: Incident) -> Need:
    is_critical = "critical" in (need.severity, incident.severity)
    return msgspec.structs.replace(
        need,
        severity="critical" if is_critical else "warning",
        answers=[*need.answers, *_incident_answers(incident)],
        owner=incident.owner,
        incident_id=incident.incident_id,
    )


def _incident(incident: Incident) -> Need:
    return Need(
        kind="incident",
        ref=incident.subject,
        severity="critical" if incident.severity == "critical" else "warning",
        sentence=incident.title,
        event_at=incident.last_at,
        recorded_at=None,
        next_step=f"{incident.owner} looks after it" if incident.owner else "nobody owns it yet",
        command=_incident_command(incident),
        answers=_incident_answers(incident),
        owner=incident.owner,
        incident_id=incident.incident_id,
    )


def _incident_command(incident: Incident) -> str:
    if incident.state == "open":
        return f"loopwright incidents --ack {incident.incident_id}"
    return f'loopwright incidents --resolve {incident.incident_id} --reason "…"'


def _incident_answers(incident: Incident) -> list[Answer]:
    verb = "monitoring.acknowledge" if incident.state == "open" else "monitoring.resolve"
    return [Answer(verb, {"incident_id": incident.incident_id})]


def _approvals(tx: Tx) -> Iterator[Need]:
    for approval in approvals.list_approvals(tx, state="waiting"):
        place = {"approval_id": approval.approval_id}
        yield Need(
            kind="approval",
            ref=approval.subject,
            severity="warning",
            sentence=approval.question,
            event_at=approval.asked_at,
            recorded_at=None,
            next_step=f"asked by {approval.asked_by}",
            command=f"loopwright approve {approval.approval_id}",
            answers=[Answer("approvals.approve", place), Answer("approvals.reject", place)],
        )


def _quarantines(tx: Tx) -> Iterator[Need]:
    for dataset in data.list_datasets(tx):
        if dataset.latest_state != "quarantined" or dataset.latest is None:
            continue
        [newest] = data.list_versions(tx, dataset=dataset.name, limit=1)
        yield Need(
            kind="quarantine",
            ref=tx.ref("dataset", dataset.name, newest.version),
            severity="warning",
            sentence=data.explain_quarantine(newest),
            event_at=newest.event_at,
            recorded_at=newest.recorded_at,
            next_step="correct the source and import again, or use it anyway",
            command=f"loopwright call data.release_quarantine dataset={dataset.name} version={newest.version} "
            'reason="…"',
            answers=[Answer("data.release_quarantine", {"dataset": dataset.name, "version": newest.version})],
        )


def _pipelines(tx: Tx) -> Iterator[Need]:
    for execution in pipelines.unanswered(tx):
        error = execution.error or {}
        yield Need(
            kind="pipeline",
            ref=tx.ref("execution", execution.execution_id),
            severity="warning",
            sentence=f"pipeline {execution.pipeline} failed: {error.get('message') or 'no step says why'}",
            event_at=execution.event_at,
            recorded_at=execution.finished_at or execution.recorded_at,
            next_step=str(error.get("next_step") or "read its steps"),
            command=f"loopwright logs {execution.execution_id}",
            answers=[Answer("pipelines.retry", {"execution_id": execution.execution_id})],
        )


def _jobs(tx: Tx) -> Iterator[Need]:
    failed = jobs.unanswered(tx, LASTING, limit=MOST_JOBS)
    for job in failed:
        place = {"job_id": job.job_id}
        yield Need(
            kind=_JOB_KINDS.get(job.kind, "job"),
            ref=job.ref,
            severity="warning",
            sentence=f"{_job_words(job)} failed: {(job.error or {}).get('message') or 'nothing says why'}",
            event_at=job.event_at,
            recorded_at=job.finished_at or job.recorded_at,
            next_step=str((job.error or {}).get("next_step") or "correct the cause and retry, or dismiss it"),
            command=f"loopwright retry {job.job_id}",
            answers=[Answer("jobs.retry", place), Answer("jobs.dismiss", place)],
        )
    if len(failed) == MOST_JOBS:
        yield from _earlier_jobs(tx, Counter((job.kind, job.ref) for job in failed))


def _earlier_jobs(tx: Tx, told: Counter[tuple[str, str]]) -> Iterator[Need]:
    """Yield the failed jobs before those that are told one by one, those of one kind on one thing together."""
    for group in jobs.count_unanswered(tx, LASTING):
        left = group.jobs - told[group.kind, group.ref]
        if left > 0:
            yield Need(
                kind=_JOB_KINDS.get(group.kind, "job"),
                ref=group.ref,
                severity="warning",
                sentence=f"{left} earlier jobs {group.kind} of {group.ref.partition('/')[2]} failed",
                event_at=None,
                recorded_at=group.oldest_at,
                next_step="answer the newest ones; these are told one by one then",
                command=f"loopwright call jobs.list kind={group.kind} 'states=[\"failed\"]'",
                count=left,
            )


def _job_words(job: Job) -> str:
    named = {"import": f"an import into {parse_ref(job.ref).name}", "fill": f"a fill of {parse_ref(job.ref).name}"}
    return named.get(_JOB_KINDS.get(job.kind, "job"), f"job {job.kind} of {job.ref.partition('/')[2]}")


def _releases(tx: Tx, leases: Sequence[GatewayLease]) -> Iterator[Need]:
    """Yield the newest releases that live gateways could not load, one a release."""
    failures = {(one.deployment, one.number): one for lease in leases for one in lease.failures}
    for (deployment, number), one in sorted(failures.items()):
        newest = next(iter(serving.list_releases(tx, deployment=deployment, limit=1)), None)
        if newest is None or newest.is_retired or newest.number != number:
            continue  # a newer release answered it, or it is gone
        ref = tx.ref("release", deployment, number)
        told = audit.list_events(tx, ref=ref, type_prefix=event_type(ReleaseFailed), limit=1)
        before = "nothing is served" if one.serves is None else f"release {one.serves} serves on"
        mend = (
            "deploy another version, or roll back"
            if one.next_step
            else "correct the model and deploy again, or roll back"
        )
        mends = [one.next_step] if one.next_step else []
        yield Need(
            kind="release",
            ref=ref,
            severity="critical",
            sentence=f"release {number} of {deployment} cannot be loaded by {one.gateway}, {before}: {one.why}",
            event_at=told[0].event_at if told else newest.event_at,
            recorded_at=told[0].recorded_at if told else newest.recorded_at,
            next_step=one.next_step if one.is_of_store else "; or ".join([*mends, mend]),
            command="loopwright doctor" if one.is_of_store else f'loopwright rollback {deployment} --reason "…"',
            answers=[] if one.is_of_store else [Answer("loop.rollback", {"deployment": deployment})],
        )


def _late_feeds(tx: Tx) -> Iterator[Need]:
    for late in data.late_feeds(tx):
        waited, usual = _about(tx.now_us - late.newest_at), _about(late.usual_us)
        why = f"its last version came {waited} ago, those before at most {usual} after each other"
        yield Need(
            kind="feed",
            ref=tx.ref("dataset", late.dataset),
            severity="warning",
            sentence=f"dataset {late.dataset} is late: {why}",
            event_at=late.newest_at,
            recorded_at=None,
            next_step="ask whoever sends its rows",
        )


def _about(us: int) -> str:
    """Return a duration in the largest unit that it holds twice."""
    unit = next((unit for unit in (DAY_US, HOUR_US, MINUTE_US) if us >= 2 * unit), SECOND_US)
    return format_duration(us // unit * unit)


def _gateways(tx: Tx, leases: Sequence[GatewayLease]) -> Iterator[Need]:
    for lease in leases:
        for trouble in lease.troubles:
            yield Need(
                kind="gateway",
                ref=tx.ref("gateway", lease.gateway),
                severity="critical" if trouble.kind in ("disk", "store") else "warning",
                sentence=f"gateway {lease.gateway}: {trouble.message}",
                event_at=None,
                recorded_at=trouble.since,
                next_step=trouble.next_step or _MENDS[trouble.kind],
                command=_fill_command(trouble) if trouble.kind == "store" else _LOGS,
            )
    heard_at = None if leases else serving.last_heard_of(tx)
    if heard_at is None or not _serves(tx):
        return
    if tx.doubt is not None:
        yield _unheard(tx, heard_at, tx.doubt)
        return
    yield Need(
        kind="gateway",
        ref=tx.ref("gateway", "any"),
        severity="critical",
        sentence=f"no gateway is alive, nobody answers predictions; last heard of at {format_moment(heard_at)}",
        event_at=None,
        recorded_at=heard_at,
        next_step="start one: loopwright up --role gateway",
        command="loopwright logs gateway",
    )


def _fill_command(trouble: Trouble) -> str:
    """Return what fills the view that a gateway's trouble names; where it names none, how to read its log.

    It is made of a name and a digest alone, for people run it: of words that others wrote nothing goes into a command.
    """
    if not trouble.view:
        return _LOGS
    plan = f" plan_digest={trouble.plan_digest}" if trouble.plan_digest else ""
    return f"loopwright call features.start_materialize view={trouble.view}{plan}"


def _unheard(tx: Tx, heard_at: int, doubt: Doubt) -> Need:
    """Return that nobody can say whether a gateway lives: what it would be known by could not be written."""
    return Need(
        kind="gateway",
        ref=tx.ref("gateway", "any"),
        severity="warning",
        sentence=f"whether a gateway is alive is not known since {format_moment(heard_at)}: {doubt.why}",
        event_at=None,
        recorded_at=heard_at,
        next_step=doubt.next_step or "correct the cause; gateways that live say so again then",
        command="loopwright doctor",
    )


def _serves(tx: Tx) -> bool:
    """Say whether something here is to be answered by a gateway."""
    own: Iterable[str] = (
        deployment.name for deployment in serving.list_deployments(tx) if not deployment.spec.is_external
    )
    return any(serving.list_releases(tx, deployment=name, limit=1) for name in own)
