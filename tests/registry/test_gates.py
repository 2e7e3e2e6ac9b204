"""Gates: undecided and invalid are never a pass, and nothing makes them raise."""

from typing import Any

import msgspec
import pytest

from loopwright.kernel.errors import LoopwrightError
from loopwright.registry import Evidence, GateSpec
from loopwright.registry.gates import check_specs, run_gates

EVIDENCE = Evidence(
    model="late",
    version=2,
    rows=1000,
    metrics={"roc_auc": 0.75, "log_loss": 0.4, "odd": float("nan")},
    intervals={"roc_auc": [0.72, 0.78]},
    champion=1,
    champion_metrics={"roc_auc": 0.74, "log_loss": 0.45},
    overlap_rows=0,
    champion_overlap_rows=0,
    latency_p99_ms=2.0,
    quarantined=[],
)


def verdict(kind: str, args: dict[str, Any], **changed: Any) -> str:
    (result,) = run_gates([GateSpec(kind, args)], msgspec.structs.replace(EVIDENCE, **changed))
    assert result.message
    return result.verdict


@pytest.mark.parametrize(
    ("kind", "args", "changed", "expected"),
    [
        ("at_least", {"metric": "roc_auc", "value": 0.75}, {}, "passed"),
        ("at_least", {"metric": "roc_auc", "value": 0.76}, {}, "failed"),
        ("at_least", {"metric": "recall", "value": 0.1}, {}, "undecided"),
        ("at_least", {"metric": "odd", "value": 0.1}, {}, "undecided"),
        ("at_least", {"metric": "roc_auc", "value": 0.1}, {"rows": 0}, "undecided"),
        ("at_least", {"metric": "roc_auc", "value": 0.1}, {"overlap_rows": 1}, "invalid"),
        ("at_most", {"metric": "log_loss", "value": 0.4}, {}, "passed"),
        ("at_most", {"metric": "log_loss", "value": 0.3}, {}, "failed"),
        ("beats_champion", {"metric": "roc_auc"}, {}, "passed"),
        ("beats_champion", {"metric": "log_loss"}, {}, "passed"),
        ("beats_champion", {"metric": "roc_auc", "margin": 0.02}, {}, "failed"),
        ("beats_champion", {"metric": "roc_auc"}, {"champion_metrics": EVIDENCE.metrics}, "failed"),
        ("beats_champion", {"metric": "roc_auc"}, {"champion": None, "champion_metrics": None}, "passed"),
        ("beats_champion", {"metric": "roc_auc"}, {"champion": None, "overlap_rows": 3}, "invalid"),
        ("beats_champion", {"metric": "roc_auc"}, {"champion_metrics": None}, "undecided"),
        ("beats_champion", {"metric": "roc_auc"}, {"champion_overlap_rows": 1}, "invalid"),
        ("beats_champion", {"metric": "roc_auc"}, {"overlap_rows": 1}, "invalid"),
        ("at_least", {"metric": "roc_auc", "value": 0.1}, {"overlap_rows": None}, "undecided"),
        ("beats_champion", {"metric": "roc_auc"}, {"overlap_rows": None}, "undecided"),
        ("beats_champion", {"metric": "roc_auc"}, {"overlap_rows": None, "champion": None}, "passed"),
        ("beats_champion", {"metric": "roc_auc"}, {"champion_overlap_rows": None}, "passed"),
        ("beats_champion", {"metric": "roc_auc", "margin": 0.1}, {"champion_overlap_rows": None}, "undecided"),
        ("latency", {"p99_ms": 5}, {}, "passed"),
        ("latency", {"p99_ms": 1}, {}, "failed"),
        ("latency", {"p99_ms": 1}, {"latency_p99_ms": None}, "undecided"),
        ("no_skew", {}, {}, "passed"),
        ("no_skew", {}, {"is_audited": True}, "passed"),
        ("no_skew", {}, {"skews": ["4 of 100 served rows differ"], "is_audited": True}, "failed"),
        ("no_skew", {}, {"unaudited": ["late"], "is_audited": True}, "undecided"),
        ("no_skew", {}, {"unaudited": ["late"], "skews": ["4 of 100 differ"]}, "failed"),
        ("data_checks", {}, {}, "passed"),
        ("data_checks", {}, {"quarantined": ["dataset:weather/3"]}, "failed"),
        ("data_checks", {}, {"is_data_known": False}, "undecided"),
        ("data_checks", {}, {"released": ["weather/3 (temp under 5 failed)"]}, "passed"),
        ("no_such", {}, {}, "invalid"),
        ("at_least", {}, {}, "invalid"),
        ("at_least", {"metric": "roc_auc", "value": "high"}, {}, "invalid"),
        ("at_least", {"metric": "roc_auc", "value": float("nan")}, {}, "invalid"),
        ("at_least", {"metric": "roc_auc", "value": 1, "more": 2}, {}, "invalid"),
        ("at_least", {"evidence": 1, "metric": "roc_auc", "value": 1}, {}, "invalid"),
        ("at_least", {"metric": "roc_auc", "value": 0.5}, {"metrics": None}, "invalid"),
    ],
)
def test_verdicts(kind: str, args: dict[str, Any], changed: dict[str, Any], expected: str) -> None:
    assert verdict(kind, args, **changed) == expected


def test_the_sentence_says_what_was_measured() -> None:
    (result,) = run_gates([GateSpec("at_least", {"metric": "roc_auc", "value": 0.8})], EVIDENCE)
    assert result.message == ("roc_auc 0.75 (95 % interval 0.72 to 0.78) on 1,000 held-out rows; asked: at least 0.8")


def test_a_worse_version_is_called_worse() -> None:
    gate = GateSpec("beats_champion", {"metric": "log_loss"})
    (better,) = run_gates([gate], EVIDENCE)
    assert "better by 0.05; asked" in better.message
    (worse,) = run_gates([gate], msgspec.structs.replace(EVIDENCE, champion_metrics={"log_loss": 0.375}))
    assert "worse by 0.025; asked" in worse.message


def test_gates_are_checked_when_they_are_declared() -> None:
    check_specs([GateSpec("latency", {"p99_ms": 5}), GateSpec("data_checks")])
    for spec in (GateSpec("nope"), GateSpec("latency", {}), GateSpec("latency", {"p99_ms": "x"})):
        with pytest.raises(LoopwrightError):
            check_specs([spec])
