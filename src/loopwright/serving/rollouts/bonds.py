"""What a decision about a version is bound to: the report it was judged by, and the people who had a hand in it."""

from loopwright import pipelines, registry, tracking
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.registry import GateReport, ModelVersion
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx


def judged_by(tx: Tx, version: ModelVersion) -> GateReport | None:
    """Return the newest gate report that speaks for a version."""
    found = reports_of(tx, version, limit=1)
    return found[0] if found else None


def reports_of(tx: Tx, version: ModelVersion, limit: int = 1000) -> list[GateReport]:
    """Return the gate reports that speak for a version, newest first.

    A refit is let through by the gates of the version whose recipe it repeats.
    """
    judged = [version.version] if version.refit_of is None else [version.version, version.refit_of]
    return [
        report
        for number in judged
        for report in registry.gate_reports(tx, model=version.model, version=number, limit=limit)
    ]


def people_behind(tx: Tx, version: ModelVersion) -> set[str]:
    """Return who made a version: who registered it, who declared or started what trained it, who forced its gates."""
    found = {version.created_by}
    if version.run:
        found |= _who_trained(tx, parse_ref(version.run).name)
    report = judged_by(tx, version)
    if report is not None and report.forced_by:
        found.add(report.forced_by)
    if version.refit_of is not None:
        found |= people_behind(tx, registry.get_version(tx, model=version.model, version=version.refit_of))
    return found


def _who_trained(tx: Tx, run_id: str) -> set[str]:
    """Return who started the execution of a run, and who declared what it ran: a policy starts what people wrote.

    Whoever deletes any of them had no less of a hand in it.
    """
    try:
        execution_id = tracking.get_run(tx, run_id=run_id).execution_id
    except NotFound:
        execution_id = _left(tx, "run", run_id, "execution_id")
    if execution_id is None:
        return set()
    try:
        started_by: str | None = pipelines.get(tx, execution_id=execution_id).started_by
    except NotFound:
        started_by = _left(tx, "execution", execution_id, "started_by")
    return _who_declared(tx, execution_id) | (set() if started_by is None else {started_by})


def _who_declared(tx: Tx, execution_id: str) -> set[str]:
    """Return who declared the definition that an execution kept, code and all; events stay whatever is deleted."""
    found = set()
    for started in store_sql.events_of(tx, pipelines.ExecutionStarted, tx.ref("execution", execution_id)):
        facts = convert(started.payload, pipelines.ExecutionStarted)
        ref = tx.ref("pipeline", facts.pipeline)
        declared = store_sql.events_of(tx, pipelines.PipelineDeclared, ref)
        found |= {event.actor for event in declared if event.payload.get("digest") == facts.digest}
    return found


def _left(tx: Tx, kind: str, name: str, fact: str) -> str | None:
    """Return a fact of what was deleted, None where nothing of that name was."""
    left = store_sql.find_tombstone(tx, tx.ref(kind, name))
    return None if left is None else left.facts.get(fact)
