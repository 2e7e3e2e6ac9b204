"""The how-to pages and the README's short examples, on a running platform."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopwright.cli.project import load_project
from loopwright.server.supervisor import Supervisor
from tests.docs.pages import DOCS, ROOT, blocks, run_commands, runs, write_files
from tests.waiting import wait_until

HOW_TO = DOCS / "how-to"
OWN_DATA = HOW_TO / "bring-your-own-data.md"


def _write_own_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    make_rows, _ = write_files(OWN_DATA, folder)
    exec(compile(make_rows.read_text(), str(make_rows), "exec"), {})


def _run(page: Path, folder: Path) -> tuple[list[str], dict[str, Any]]:
    said: list[str] = []
    names: dict[str, Any] = {}
    for kind, body in runs(page):
        if kind == "python":
            exec(compile(body, str(page), "exec"), names)
        else:
            said.append(run_commands(body, folder))
    return said, names


def test_own_data_is_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_own_data(tmp_path, monkeypatch)
    spec, _ = load_project(tmp_path / "orders.py").draft.to_spec()
    assert spec.services[0].label.column == "is_returned"
    assert spec.deployments[0].task == "binary"


@pytest.mark.slow
def test_own_data(platform: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_own_data(tmp_path, monkeypatch)
    (applied, listed, trained), names = _run(OWN_DATA, tmp_path)
    assert applied.endswith("applied\n")
    assert "ready" in listed
    assert "done" in trained
    deployment = names["p"].deployment("returns")
    (line,) = blocks(OWN_DATA, "predict")
    row = json.loads(line.split("'")[1])
    wait_until(lambda: "returns" in str(httpx.get(f"{platform.gateway_url}/healthz").json()["releases"]))
    assert 0 < deployment.predict([row])[0]["score"] < 1
    (exported, imported), _ = _run(HOW_TO / "share-a-contract.md", tmp_path)
    assert "has the contract of orders" in exported
    assert "lw.check.between('amount', low=0, high=100000)" in imported
    assert "logicalType: timestamp" in (tmp_path / "orders.odcs.yaml").read_text("utf-8")


@pytest.mark.slow
def test_a_model_served_elsewhere(platform: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, names = _run(HOW_TO / "watch-a-model-served-elsewhere.md", tmp_path)
    assert "scorecard" in str(names["report"])
    assert any(one.is_drifted for window in names["report"].windows for one in window.drift)
    (line,) = blocks(HOW_TO / "watch-a-model-served-elsewhere.md", "http")
    for path, body in ((part.split(" -d ")[0].split("8401")[1], part.split("'")[1]) for part in line.split("curl")[1:]):
        answer = httpx.post(platform.gateway_url + path, content=body)
        assert answer.json() == {"accepted": 1}


@pytest.mark.slow
def test_tokens(platform: Supervisor) -> None:
    from loopwright.client.finding import find_caller
    from loopwright.governance import SYSTEM

    find_caller().call("projects.create", {"name": "credit"}, SYSTEM)
    _, names = _run(HOW_TO / "run-with-auth.md", Path.cwd())
    assert names["made"].secret.startswith("lwt_")


@pytest.mark.slow
def test_tracking_alone(platform: Supervisor) -> None:
    (body,) = blocks(ROOT / "README.md", "try: track")
    names: dict[str, Any] = {}
    exec(compile(body, "README.md", "exec"), names)
    assert names["best"].metrics == {"loss": 0.41}


@pytest.mark.slow
def test_serving_alone(platform: Supervisor, tmp_path: Path) -> None:
    import lightgbm
    import numpy as np
    import pandas

    chance = np.random.default_rng(0)
    rows = pandas.DataFrame({"amount": chance.gamma(2, 50, 500)})
    rows["country"] = pandas.Categorical(chance.choice(["de", "fr", "pl"], 500))
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(rows, rows["amount"] > 120)
    model.booster_.save_model(tmp_path / "fraud.txt")
    text = (ROOT / "README.md").read_text("utf-8")
    (body,) = blocks(ROOT / "README.md", "try: serve")
    (tmp_path / "fraud.py").write_text(body)
    commands = text[text.index("loopwright apply fraud.py") : text.index("loopwright predict fraud")]
    said = run_commands(commands.replace("fraud.py", "fraud.py --yes"), tmp_path)
    assert "version 1 is registered" in said
