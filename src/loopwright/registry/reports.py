"""Verbs of gate reports: what the gates said of a version, and who let it through all the same."""

import math

import msgspec

from loopwright.governance import require_job
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.verbs import Role, query, verb
from loopwright.registry import sql
from loopwright.registry.events import GateFacts, GatesEvaluated, GatesForced
from loopwright.registry.types import Evidence, GateReport, GateResult
from loopwright.registry.versions import get_version
from loopwright.store.tx import Tx


@verb("registry.record_gates", changes=GateReport, internal=True)
def record_gates(
    tx: Tx, *, model: str, version: int, results: list[GateResult], evidence: Evidence, reason: str = ""
) -> GateReport:
    """Store what the gates said; it passed if there were some and every single one did: nothing else is a pass."""
    require_job(tx, "record what gates said", "record_gates")
    get_version(tx, model=model, version=version)
    if (evidence.model, evidence.version) != (model, version):
        about, rule = f"{evidence.model}/{evidence.version}", f"about {model}/{version}"
        raise InvalidInput("this evidence is about another version", field="evidence", value=about, rule=rule)
    report = GateReport(
        report_id=tx.new_id("gate"),
        model=model,
        version=version,
        passed=bool(results) and all(result.verdict == "passed" for result in results),
        results=results,
        evidence=_without_non_finite(evidence),
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
    )
    _store(tx, report, GatesEvaluated, reason)
    return report


@verb("registry.force_gates", changes=GateReport, role=Role.APPROVER)
def force_gates(tx: Tx, *, model: str, version: int, reason: str) -> GateReport:
    """Let a version through whatever its gates said. The verdicts stay as they are; name and reason stand beside them.

    Raises:
        InvalidInput: No reason is given.
    """
    if not reason.strip():
        raise InvalidInput("forcing gates needs a reason", field="reason", rule="at least one word")
    get_version(tx, model=model, version=version)
    said = gate_reports(tx, model=model, version=version, limit=1)
    report = msgspec.structs.replace(
        said[0] if said else _never_evaluated(model, version),
        report_id=tx.new_id("gate"),
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
        forced_by=tx.actor,
        forced_reason=reason,
    )
    _store(tx, report, GatesForced, reason)
    return report


@query("registry.gate_report")
def gate_report(tx: Tx, *, model: str, version: int) -> GateReport:
    """Return the newest gate report of a version.

    Raises:
        NotFound: Its gates were never evaluated.
    """
    said = gate_reports(tx, model=model, version=version, limit=1)
    if not said:
        raise NotFound(f"the gates of {model}/{version} were never evaluated", field="version", value=version)
    return said[0]


@query("registry.gate_reports")
def gate_reports(tx: Tx, *, model: str, version: int, limit: int = 100) -> list[GateReport]:
    """Return the gate reports of a version, newest first."""
    return sql.list_reports(tx, model, version, limit=max(1, min(limit, 1000)))


def _store(tx: Tx, report: GateReport, event: type[GateFacts], reason: str) -> None:
    sql.insert_report(tx, report)
    facts = event(
        model=report.model,
        version=report.version,
        report_id=report.report_id,
        passed=report.passed,
        is_forced=bool(report.forced_by),
        verdicts={f"{number} {result.gate.kind}": result.verdict for number, result in enumerate(report.results, 1)},
    )
    tx.emit(facts, tx.ref("model", report.model, report.version), reason=reason)


def _never_evaluated(model: str, version: int) -> GateReport:
    """Return the report of a version nobody has measured: it did not pass."""
    evidence = Evidence(model, version, 0, {}, {}, None, None, 0, 0, None, [])
    return GateReport("", model, version, False, [], evidence, 0, 0)


def _without_non_finite(evidence: Evidence) -> Evidence:
    """Leave out what JSON cannot carry; a missing metric reads as not measured."""

    def finite(values: dict[str, float]) -> dict[str, float]:
        return {name: value for name, value in values.items() if math.isfinite(value)}

    intervals = {name: ends for name, ends in evidence.intervals.items() if all(map(math.isfinite, ends))}
    champion = None if evidence.champion_metrics is None else finite(evidence.champion_metrics)
    p99 = evidence.latency_p99_ms
    return msgspec.structs.replace(
        evidence,
        metrics=finite(evidence.metrics),
        intervals=intervals,
        champion_metrics=champion,
        latency_p99_ms=p99 if p99 is not None and math.isfinite(p99) else None,
    )
