"""What people type, against a running platform: a file is scored into the log, and each answer explains itself."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from loopwright.cli.examining import examine
from loopwright.cli.main import cli
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.config import load_settings
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, StepFailed
from loopwright.server.supervisor import Supervisor

pytestmark = pytest.mark.slow

PROJECT = """
from pathlib import Path

import loopwright as lw

p = lw.Project("shop")


@p.step(cache=False)
def pack(place: str) -> str:
    print("looking for the box")
    return Path(place).read_text()


@p.step
def send(text: str) -> int:
    return len(text)


@p.pipeline
def ship(place: str = ""):
    return send(pack(place))


policy = lw.Approve(first="policy", retrain="policy")
p.deployment("late", model="late", task="binary", approve=policy)
p.deployment("kind", model="kind", task="multiclass", approve=policy)
p.deployment(
    "careful", model="late", task="binary", approve=policy, rollout=[lw.Shadow("7d", no_worse="roc_auc", margin=0.01)]
)
"""
FAR_FUTURE_US = 10**17


def loopwright(*arguments: str | Path, typed: str = "") -> str:
    """Type a command; returns what it prints."""
    answer = CliRunner().invoke(cli, [str(one) for one in arguments], input=typed, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def told(*arguments: str | Path, typed: str = "") -> Any:
    return json.loads(loopwright(*arguments, "--json", typed=typed))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    chance = np.random.default_rng(0)
    hours, stops = chance.uniform(0, 24, 500), chance.integers(0, 4, 500)
    return pl.DataFrame({"order_id": [f"order-{row}" for row in range(500)], "hours": hours, "stops": stops})


@pytest.fixture(scope="module")
def shop(
    platform: Supervisor, caller: HttpCaller, rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Remote:
    """A project with two models that were trained elsewhere, each released."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(PROJECT)
    assert told("apply", folder / "shop.py", "--yes")["is_applied"]
    X = rows.select("hours", "stops").to_pandas()
    late = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, (rows["stops"] > 1).to_numpy())
    kind = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, (rows["stops"] % 3).to_numpy())
    for name, model, task in (("late", late, "binary"), ("kind", kind, "multiclass")):
        model.booster_.save_model(folder / f"{name}.txt")
        assert told("import-model", name, folder / f"{name}.txt", "--task", task)["version"] == 1
        assert told("deploy", name, "--version", "1", "--reason", "the first")["state"] == "done"
    remote = Remote("shop", caller)
    newest = max(remote.call("serving.get_release", deployment=name).position for name in ("late", "kind"))
    while min((lease.acknowledged for lease in remote.call("serving.gateways")), default=0) < newest:
        time.sleep(0.05)  # the test's own time-out ends a wait that is in vain
    return remote


def counted() -> tuple[int, int]:
    [found] = [one for one in told("status")["deployments"] if one["name"] == "late"]
    return found["predictions"], found["scored"]


def test_a_file_is_scored_into_the_log(shop: Remote, rows: pl.DataFrame, tmp_path: Path) -> None:
    predictions, scored = counted()
    file = tmp_path / "orders.parquet"
    rows.write_parquet(file)
    said = loopwright("score", "late", file, "--id-column", "order_id")
    assert "500 rows scored into" in said
    scores = pl.read_parquet(tmp_path / "orders.scores.parquet")
    assert scores["row_key"].to_list() == rows["order_id"].to_list()
    log = shop.deployment("late").read_log(0, FAR_FUTURE_US)
    assert set(log["variant"]) == {"score"}
    logged = dict(log.select("prediction_id", "score").iter_rows())
    assert logged == dict(scores.select("prediction_id", "score").iter_rows())
    elsewhere = told("score", "late", file, "--out", tmp_path / "again.parquet")
    assert elsewhere == {"rows": 500, "file": str(tmp_path / "again.parquet")}
    assert counted() == (predictions, scored + 1000)


def test_a_file_without_the_models_columns_is_refused(shop: Remote, rows: pl.DataFrame, tmp_path: Path) -> None:
    rows.drop("stops").write_parquet(tmp_path / "orders.parquet")
    (tmp_path / "orders.csv").write_text("order_id,hours\norder-1,2.5\n")
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "orders.parquet").read_bytes()[:-9])
    for file, said in (("orders.parquet", "lack 1 of"), ("orders.csv", "lack 1 of"), ("torn.parquet", "be read")):
        with pytest.raises(InvalidInput, match=said):
            loopwright("score", "late", tmp_path / file)
        assert list(tmp_path.glob("*.scores.parquet")) == []


@pytest.mark.parametrize(("deployment", "outputs"), [("late", 1), ("kind", 3)])
def test_an_answer_is_replayed_to_the_bit(shop: Remote, deployment: str, outputs: int) -> None:
    [answer] = told("predict", deployment, typed=json.dumps({"hours": 3.25, "stops": 2}))
    explained = told("why", answer["prediction_id"], "--replay")
    assert explained["replay"]["is_same"]
    assert np.size(explained["replay"]["computed"]) == outputs
    said = loopwright("why", answer["prediction_id"], "--replay")
    assert f"{deployment} answered" in said
    assert "the same to the bit" in said


def test_missing_features_are_told_with_the_answer(shop: Remote) -> None:
    row = {"hours": 3.25, "stops": None}
    said = loopwright("predict", "late", typed=json.dumps([row, {"hours": None, "stops": None}]))
    assert ": 1 feature is missing: stops (NULL)\n" in said
    assert ": 2 features are missing: hours, stops (NULL)\n" in said
    assert "missing" not in loopwright("predict", "late", json.dumps({**row, "stops": 2}))


def test_a_failed_execution_is_read_and_run_on(shop: Remote, tmp_path: Path) -> None:
    place = tmp_path / "box"
    answer = CliRunner().invoke(cli, ["start", "ship", "--param", f"place={place}", "--json"])
    name = json.loads(answer.stdout)["execution_id"]
    assert isinstance(answer.exception, StepFailed)
    packed, sent = told("logs", name)
    assert "looking for the box" in packed["log"]
    assert (packed["state"], sent["state"], sent["log"]) == ("failed", "waiting", "")
    assert "--- pack: failed\nlooking for the box" in loopwright("logs", name)
    with pytest.raises(StepFailed, match=f"loopwright retry {name}"):
        loopwright("retry", name)
    place.write_text("socks")
    assert loopwright("retry", name) == f"{name} done\n"
    assert [step["state"] for step in told("logs", name)] == ["done", "done"]


def test_doctor_tells_our_ports_from_those_that_others_took(platform: Supervisor, tmp_path: Path) -> None:
    ports = platform.settings.port, platform.settings.gateway_port
    found = {one["what"]: one for one in told("doctor")}
    for what, port in zip(("server port", "gateway port"), ports, strict=True):
        assert found[what]["found"].startswith(f"{port} is ours and answers")
    elsewhere = msgspec.structs.replace(load_settings(tmp_path), port=ports[0], gateway_port=ports[1])
    for one, port in zip((one for one in examine(elsewhere) if one.what.endswith(" port")), ports, strict=True):
        assert (one.is_fine, one.found) == (False, f"{port}: Address already in use by another Loopwright")


def test_nothing_to_approve_is_said_as_such(shop: Remote) -> None:
    with pytest.raises(NotFound, match="nothing waits for an approval"):
        loopwright("approve")


def test_a_live_rollout_is_aborted_by_the_command_that_its_conflict_names(
    shop: Remote, rows: pl.DataFrame, tmp_path: Path
) -> None:
    X = rows.select("hours", "stops").to_pandas()
    model = lightgbm.LGBMClassifier(n_estimators=6, verbose=-1).fit(X, (rows["stops"] > 1).to_numpy())
    model.booster_.save_model(tmp_path / "late.txt")
    version = told("import-model", "late", tmp_path / "late.txt", "--task", "binary")["version"]
    loopwright("deploy", "careful", "--version", "1")
    loopwright("deploy", "careful", "--version", str(version))
    with pytest.raises(Conflict, match="loopwright rollback careful --reason"):
        loopwright("deploy", "careful", "--version", str(version))
    assert "careful: shadow for 7d, step 1 of 1, since " in loopwright("status")
    said = loopwright("rollback", "careful", "--reason", "only a look")
    assert said == f"the rollout of v{version} is aborted; v1 serves as before\n"
    loopwright("deploy", "late", "--version", str(version))
    assert loopwright("rollback", "late", "--reason", "to see that one can") == "late is back on v1\n"


READING = [
    *("status", "projects", "datasets", "runs", "incidents", "tokens", "logs", "verify"),
    *("call registry.versions model=late", "call serving.gateways", "call audit.list limit=5", "call jobs.list"),
]


def test_a_command_finds_what_it_needs_in_a_process_of_its_own(shop: Remote) -> None:
    """Here every room is imported already; a command imports what it needs, and must not rely on anybody else."""
    for command in READING:
        typed = [sys.executable, "-m", "loopwright", *command.split()]
        answer = subprocess.run(typed, capture_output=True, text=True)
        assert answer.returncode == 0, (command, answer.stdout, answer.stderr)
        assert "Traceback" not in answer.stderr, command
