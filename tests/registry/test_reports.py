"""Gate reports: what was said stays said; forcing stands beside it with a name and a reason."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.registry import Evidence, GateReport, GateSpec
from loopwright.registry.gates import run_gates

Call = Callable[..., Any]
NAN = float("nan")
EVIDENCE = Evidence("late", 1, 100, {"roc_auc": 0.7, "odd": NAN}, {"odd": [NAN, 1.0]}, None, None, 0, 0, NAN, [])
SPECS = [GateSpec("at_least", {"metric": "roc_auc", "value": 0.65}), GateSpec("data_checks")]


@pytest.fixture(autouse=True)
def version(call: Call) -> None:
    files = [{"path": "constant.json", "digest": "a" * 64, "size_bytes": 9}]
    call("registry.register", model="late", flavour="constant", files=files, signature={"inputs": [], "task": "binary"})


def record(dispatcher: Dispatcher, specs: list[GateSpec]) -> GateReport:
    args = {"model": "late", "version": 1, "results": run_gates(specs, EVIDENCE), "evidence": EVIDENCE}
    found: GateReport = dispatcher.call("registry.record_gates", args, actor=SERVICE_ACTOR, project="flights")
    return found


def test_a_report_passes_if_every_gate_does(call: Call, dispatcher: Dispatcher) -> None:
    report = record(dispatcher, SPECS)
    assert report.passed
    assert call("registry.gate_report", model="late", version=1) == report == from_json(to_json(report), GateReport)
    assert (report.evidence.metrics, report.evidence.latency_p99_ms) == ({"roc_auc": 0.7}, None)
    for verdict, spec in (("undecided", GateSpec("latency", {"p99_ms": 1})), ("invalid", GateSpec("nope"))):
        worse = record(dispatcher, [*SPECS, spec])
        assert (worse.passed, worse.results[-1].verdict) == (False, verdict)
    assert call("audit.list", limit=1)[0].payload["verdicts"] == {
        "1 at_least": "passed",
        "2 data_checks": "passed",
        "3 nope": "invalid",
    }


@pytest.mark.parametrize("about", [{"version": 2}, {"model": "other"}])
def test_evidence_about_another_version_is_no_report(dispatcher: Dispatcher, about: dict[str, Any]) -> None:
    evidence = msgspec.structs.replace(EVIDENCE, **about)
    args = {"model": "late", "version": 1, "results": run_gates(SPECS, EVIDENCE), "evidence": evidence}
    with pytest.raises(InvalidInput, match="about another version; field: evidence"):
        dispatcher.call("registry.record_gates", args, actor=SERVICE_ACTOR, project="flights")


def test_forcing_needs_a_reason_and_an_approver(call: Call, dispatcher: Dispatcher) -> None:
    record(dispatcher, [GateSpec("at_least", {"metric": "roc_auc", "value": 0.9})])
    with pytest.raises(InvalidInput, match="reason"):
        call("registry.force_gates", model="late", version=1, reason="")
    args = {"model": "late", "version": 1, "reason": "the old one is broken"}
    editor = Actor("person:ed", {"flights": Role.EDITOR})
    with pytest.raises(PermissionDenied):
        dispatcher.call("registry.force_gates", args, actor=editor, project="flights")
    approver = Actor("person:ann", {"flights": Role.APPROVER})
    forced = dispatcher.call("registry.force_gates", args, actor=approver, project="flights")
    assert (forced.passed, forced.forced_by, forced.forced_reason) == (False, "person:ann", "the old one is broken")
    assert forced.results[0].verdict == "failed"
    newest, before = call("registry.gate_reports", model="late", version=1)
    assert (newest, before.forced_by) == (forced, "")
    assert call("audit.list", limit=1)[0].type == "registry.gates_forced"


def test_what_was_never_evaluated(call: Call) -> None:
    with pytest.raises(NotFound, match="never evaluated"):
        call("registry.gate_report", model="late", version=1)
    forced = call("registry.force_gates", model="late", version=1, reason="first try")
    assert (forced.passed, forced.results, forced.evidence.rows) == (False, [], 0)
    with pytest.raises(NotFound):
        call("registry.force_gates", model="late", version=2, reason="no such version")
