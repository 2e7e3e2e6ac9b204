"""The how-to pages about plugins: each package they show works once it is installed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import loopwright as lw
from loopwright.monitoring import build_reference
from loopwright.registry import Evidence, TrainingColumn, artifacts, check_specs, run_gates
from tests.docs.pages import DOCS, forget_plugins, install_plugin

HOW_TO = DOCS / "how-to"


@pytest.fixture(autouse=True)
def _plugins_are_forgotten() -> Iterator[None]:
    yield
    forget_plugins()


def test_a_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = install_plugin(HOW_TO / "add-a-gate.md", tmp_path, monkeypatch)
    asked = page.is_narrow("roc_auc", 0.02)
    check_specs([asked])
    p = lw.Project("flights")
    p.deployment("late", model="late", task="binary", gates=[asked])
    assert p.draft.to_spec()[0].deployments[0].gates == [asked]

    def verdict(**facts: object) -> str:
        evidence = {
            "model": "late",
            "version": 2,
            "rows": 900,
            "metrics": {"roc_auc": 0.7},
            "champion": None,
            "intervals": {"roc_auc": [0.69, 0.705]},
            "champion_metrics": None,
            "overlap_rows": 0,
            "champion_overlap_rows": 0,
            "latency_p99_ms": None,
            "quarantined": [],
        }
        return run_gates([asked], Evidence(**{**evidence, **facts}))[0].verdict  # type: ignore[arg-type]

    assert verdict() == "passed"
    assert verdict(intervals={"roc_auc": [0.6, 0.8]}) == "failed"
    assert verdict(intervals={}) == "undecided"
    assert verdict(overlap_rows=3) == "invalid"


def test_a_drift_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = install_plugin(HOW_TO / "add-a-drift-metric.md", tmp_path, monkeypatch)
    chance = np.random.default_rng(0)
    rows = pl.DataFrame({"x": chance.normal(size=4000), "event_at": np.arange(4000) * 3_600_000_000})
    reference = build_reference(rows, ["x"], metric="hellinger", every_us=7 * 86_400_000_000)
    column = reference.profile.columns["x"]
    assert 0 < reference.usual["x"] < 0.5
    assert page.hellinger(column, column) == 0.0
    shifted = build_reference(pl.DataFrame({"x": [None, *chance.normal(2, size=999)]}), ["x"]).profile.columns["x"]
    assert shifted.rows == 1000


def test_a_flavour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = install_plugin(HOW_TO / "add-a-flavour.md", tmp_path, monkeypatch)
    card = page.Scorecard(-1.0, {"age": ([30.0, 50.0], [0.5, 0.0, -0.5]), "income": ([2000.0], [0.7, -0.2])})
    columns = [TrainingColumn("income", "number"), TrainingColumn("age", "number"), TrainingColumn("id", "number")]
    out = tmp_path / "saved"
    saved = artifacts.save_model(card, out, columns, "binary")
    assert saved.flavour == "scorecard"
    assert [column.name for column in saved.signature.inputs] == ["age", "income"]
    loaded = page.ScorecardFlavour().load(out, saved.signature)
    matrix = np.array([[25.0, 1000.0], [60.0, np.nan]])
    assert loaded.predict(matrix).tolist() == card.predict(matrix).tolist()
    assert loaded.predict(matrix[1:]).tolist() == card.predict(matrix)[1:].tolist()
