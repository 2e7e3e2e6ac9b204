"""Existing scripts, untouched: their rows come as a file, what they write is registered with where it came from."""

from functools import partial
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import polars as pl
import pytest

from loopwright.cli.project import load_project
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.kernel.documents import digest_bytes
from loopwright.registry import load_model
from loopwright.server.supervisor import Supervisor
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

PROJECT = """
import loopwright as lw

p = lw.Project("churn")
events = p.dataset("events", lw.source.parquet("events.parquet"), key="event_id", time="happened_at")
p.command("train", "python train.py --data {data} --out {out} --trees {trees}", inputs={"data": events},
          outputs={"out": lw.model("churn", file="model.txt", task="binary", label="left")},
          params={"trees": 20}, env="requirements.lock")
p.command("classify", "python classify.py {data} {out}", inputs={"data": events},
          outputs={"out": lw.model("kind", file="model.onnx", task="multiclass", features=["calls", "months"],
                                   classes=["stays", "asks", "leaves"])}, env="requirements.lock")
p.command("hangs", "python hangs.py {out}", inputs={"data": events}, timeout="5s",
          outputs={"out": lw.model("never", file="model.txt", task="binary")})
p.command("fails", "python fails.py {out}", inputs={},
          outputs={"out": lw.model("never", file="model.txt", task="binary")})
"""
TRAIN = """
import argparse, lightgbm, pandas
reader = argparse.ArgumentParser()
for name in ("--data", "--out", "--trees"):
    reader.add_argument(name)
asked = reader.parse_args()
rows = pandas.read_parquet(asked.data)
rows["plan"] = rows["plan"].astype("category")
model = lightgbm.LGBMClassifier(n_estimators=int(asked.trees), n_jobs=1, verbose=-1)
model.fit(rows[["calls", "months", "plan"]], rows["left"])
model.booster_.save_model(asked.out)
print("trained on", len(rows), "rows")
"""
CLASSIFY = """
import sys, numpy, onnx, pandas
from onnx import helper
rows = pandas.read_parquet(sys.argv[1])
weights = onnx.numpy_helper.from_array(numpy.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]], numpy.float32), "weights")
entry = helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, [None, 2])
leave = helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, [None, 3])
nodes = [helper.make_node("MatMul", ["rows", "weights"], ["sums"]), helper.make_node("Softmax", ["sums"], ["answer"])]
graph = helper.make_graph(nodes, "linear", [entry], [leave], [weights])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), sys.argv[2])
"""
HANGS = """
import pathlib, subprocess, time
started = subprocess.Popen(["sleep", "3600"])
pathlib.Path("PID").write_text(str(started.pid))
print("waiting", flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("project")
    chance = np.random.default_rng(0)
    rows = 2_000
    calls, months = chance.poisson(3, rows), chance.integers(1, 60, rows)
    pl.DataFrame(
        {
            "event_id": np.arange(rows),
            "happened_at": pl.Series(np.arange(rows) * 3_600_000_000).cast(pl.Datetime("us", "UTC")),
            "calls": calls,
            "months": months,
            "plan": chance.choice(["basic", "family", "pro"], rows),
            "left": chance.random(rows) < 1 / (1 + np.exp(0.05 * months - 0.4 * calls)),
        }
    ).write_parquet(made / "events.parquet")
    files = {
        "churn.py": PROJECT,
        "train.py": TRAIN,
        "classify.py": CLASSIFY,
        "hangs.py": HANGS.replace("PID", str(made / "pid")),
        "fails.py": "print('no rows'); raise SystemExit(3)",
        "requirements.lock": "lightgbm==4.7.0\n",
    }
    for name, text in files.items():
        (made / name).write_text(text)
    return made


@pytest.fixture(scope="module")
def p(platform: Supervisor, caller: HttpCaller, folder: Path) -> Remote:
    load_project(folder / "churn.py").apply()
    remote = Remote("churn", caller)
    wait_until(lambda: not remote.call("jobs.list", states=["queued", "running"]))
    return remote


def finish(p: Remote, pipeline: str, **params: Any) -> Any:
    name = p.call("pipelines.start", pipeline=pipeline, params=params).execution_id
    get = partial(p.call, "pipelines.get", execution_id=name)
    wait_until(lambda: get().state in ("done", "failed"), get)
    return get()


def load(p: Remote, version: Any, folder: Path) -> Any:
    for file in version.files:
        folder.mkdir(exist_ok=True)
        (folder / file.path).write_bytes(p.caller.get_blob("churn", file.digest))
    return load_model(version, folder)


def test_a_script_becomes_a_pipeline(platform: Supervisor, p: Remote, folder: Path, tmp_path: Path) -> None:
    done = finish(p, "train", trees=30)
    assert done.state == "done", done
    version = p.call("registry.get_version", model="churn")
    assert done.steps[0].output == {"out": {"model": "churn", "version": 1}}
    assert [(one.name, one.kind) for one in version.signature.inputs] == [
        ("calls", "number"),
        ("months", "number"),
        ("plan", "category"),
    ]
    assert version.signature.inputs[2].categories == ["basic", "family", "pro"]
    run = p.call("tracking.get_run", run_id=version.run.rpartition(":")[2])
    assert run.inputs == ["churn/dataset:events/1"]
    assert run.params == {"trees": 30}
    assert (run.state, run.execution_id) == ("finished", done.execution_id)
    digest = digest_bytes((folder / "requirements.lock").read_bytes())
    assert run.tags["environment_digest"] == digest
    assert [(one.path, one.digest) for one in run.artifacts] == [("requirements.lock", digest)]
    log = p.caller.get_blob("churn", done.steps[0].log_digest).decode()
    assert "trained on 2000 rows" in log
    found = load(p, version, tmp_path / "loaded").predict(np.array([[3.0, 12.0, 1.0]]))
    booster = lightgbm.Booster(model_file=tmp_path / "loaded" / "model.txt")
    assert booster.num_trees() == 30
    np.testing.assert_array_equal(found, booster.predict(np.array([[3.0, 12.0, 1.0]])))
    assert list((platform.settings.state_dir / "worker" / "tmp").iterdir()) == []


def test_a_script_that_writes_onnx(p: Remote, tmp_path: Path) -> None:
    done = finish(p, "classify")
    assert done.state == "done", done
    version = p.call("registry.get_version", model="kind")
    assert (version.flavour, version.signature.classes) == ("onnx", ["stays", "asks", "leaves"])
    assert [one.name for one in version.signature.inputs] == ["calls", "months"]
    rows = np.array([[3.0, 12.0], [0.0, 50.0]])
    session = onnxruntime.InferenceSession(p.caller.get_blob("churn", version.files[0].digest))
    (expected,) = session.run(None, {"rows": rows.astype(np.float32)})
    np.testing.assert_array_equal(load(p, version, tmp_path / "loaded").predict(rows), expected.astype(np.float64))


def test_a_script_that_hangs_or_fails_is_ended_and_told(p: Remote, folder: Path) -> None:
    failed = finish(p, "fails")
    assert "status 3" in failed.error["message"]
    assert "no rows" in p.caller.get_blob("churn", failed.steps[0].log_digest).decode()
    hung = finish(p, "hangs")
    assert "longer than 5 s" in hung.error["message"]
    assert "waiting" in p.caller.get_blob("churn", hung.steps[0].log_digest).decode()
    started = Path("/proc") / (folder / "pid").read_text()
    assert not started.exists() or "Z" in (started / "stat").read_text().split()[2]
    assert "never" not in [one.model for one in p.call("registry.models")]
