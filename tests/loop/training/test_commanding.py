"""The command itself, and the files it made; the whole of it: tests/flows/test_command.py."""

import importlib
import os
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest

from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import Corrupt, InvalidInput, NotFound, StepFailed
from loopwright.loop import CommandSpec, ModelOutput
from loopwright.loop.training.commanding import run_and_inspect, run_command
from loopwright.pipelines.executors.base import CallResult
from loopwright.registry import ModelFile, SavedModel, Signature, load_model, model_digest
from loopwright.store import sql as store_sql
from tests.loop.conftest import Loop
from tests.loop.crashing import Killed, Worker


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "key": range(300),
            "x": chance.normal(size=300),
            "y": chance.normal(size=300),
            "left": chance.random(300) < 0.5,
        }
    )
    frame.write_parquet(tmp_path / "data.parquet")
    model = lightgbm.train(
        {"objective": "binary", "verbose": -1}, lightgbm.Dataset(frame.select("x", "y").to_numpy(), frame["left"]), 3
    )
    model.save_model(tmp_path / "made.txt")
    return tmp_path / "data.parquet"


def run(rows: Path, words: list[str], **options: Any) -> dict[str, SavedModel]:
    output = ModelOutput("churn", "model.txt", "binary", **options)
    outputs = {"out": to_builtins(output)}
    made = run_and_inspect(words, str(rows.parent), str(rows.parent), outputs, {"out": ["key"]}, str(rows))
    return {name: convert(document, SavedModel) for name, document in made.items()}


def test_a_model_without_names_takes_those_of_the_rows(rows: Path) -> None:
    copied = ["cp", "made.txt", str(rows.parent / "out" / "model.txt")]
    saved = run(rows, copied, label="left", classes=["stays", "leaves"])["out"]
    assert [one.name for one in saved.signature.inputs] == ["x", "y"]
    assert saved.signature.classes == ["stays", "leaves"]
    assert load_model(saved, rows.parent / "models" / "out").predict(np.zeros((1, 2))).shape == (1,)
    assert [one.name for one in run(rows, copied, features=["y", "x"])["out"].signature.inputs] == ["y", "x"]
    with pytest.raises(InvalidInput, match=r"no such column; field: churn.features; value: z"):
        run(rows, copied, features=["y", "z"])
    with pytest.raises(InvalidInput, match="another number of columns"):
        run(rows, copied)


def test_a_command_that_fails_is_told(rows: Path) -> None:
    for words, told in ((["false"], "with status 1"), (["no-such-program"], "cannot be started")):
        with pytest.raises(StepFailed, match=told):
            run(rows, words)
    with pytest.raises(InvalidInput, match=r"made no model.txt; field: outputs.out"):
        run(rows, ["true"])
    with pytest.raises(InvalidInput, match="no LightGBM model"):
        run(rows, ["cp", str(rows), str(rows.parent / "out" / "model.txt")])


class Children:
    """Child processes that are none: functions of the platform called in place."""

    def call(self, target: str, inputs: dict[str, Any], **limits: Any) -> CallResult:
        module, _, name = target.partition(":")
        return CallResult(getattr(importlib.import_module(module), name)(**inputs), b"")


class Liar(Children):
    """A child that a command speaks for, in the name of the platform's own function: it may write to its pipe."""

    def __init__(self, made: dict[str, Any], link: Path | None = None) -> None:
        self.made, self.link = made, link

    def call(self, target: str, inputs: dict[str, Any], **limits: Any) -> CallResult:
        models = Path(inputs["folder"]) / "models"
        models.mkdir()
        if self.link is not None:
            (models / "out").symlink_to(self.link)
        return CallResult(self.made, b"")


@pytest.mark.parametrize("way", ["a link", "a name"])
def test_a_command_opens_no_blob_that_it_only_knows_by_name(loop: Loop, tmp_path: Path, way: str) -> None:
    foreign = loop.blobs.put(b"rows of another project")
    place = loop.blobs.path(foreign.digest)
    file = ModelFile(place.name, foreign.digest, foreign.size_bytes)
    signature = Signature([], "binary")
    saved = SavedModel("constant", [file], signature, model_digest("constant", [file], signature))
    name = "out" if way == "a link" else f"../../../../{os.path.relpath(place.parent, tmp_path)}"
    children = Liar({name: to_builtins(saved)}, place.parent if way == "a link" else None)
    spec = CommandSpec("train", ["true"], {}, {"out": ModelOutput("churn", "m.json", "binary")})
    worker = Worker(loop, tmp_path, children)
    with pytest.raises((Corrupt, InvalidInput)):
        run_command(worker.step("train", "loop.command"), {"command": to_builtins(spec)})
    with pytest.raises(NotFound):
        loop("registry.get_version", model="churn")
    with loop.dispatcher.database.reading() as connection:
        assert store_sql.find_blob(connection, "flights", foreign.digest) is None


@pytest.mark.parametrize("dies_after", ["tracking.start_run", "registry.register", "tracking.finish_run"])
def test_a_command_that_was_killed_leaves_one_finished_run_and_one_version(
    loop: Loop, tmp_path: Path, dies_after: str
) -> None:
    counter, script = tmp_path / "counter", tmp_path / "train.sh"
    script.write_text(f"echo x >> {counter}\nprintf '{{\"value\": 0.%s}}' $(wc -l < {counter}) > $1\n")
    outputs = {"out": ModelOutput("churn", "m.json", "binary")}
    spec = CommandSpec("train", ["sh", str(script), "{out}"], {}, outputs)
    worker = Worker(loop, tmp_path, Children(), dies_after)
    with pytest.raises(Killed):
        run_command(worker.step("train", "loop.command"), {"command": to_builtins(spec)})
    found = run_command(worker.step("train", "loop.command"), {"command": to_builtins(spec)})
    assert found == {"out": {"model": "churn", "version": 1}}
    [run] = loop("tracking.search_runs", experiment="train")
    assert run.state == "finished"
    [version] = loop("registry.versions", model="churn")
    assert version.run == f"flights/run:{run.run_id}"
    assert len(counter.read_text().split()) == (2 if dies_after == "tracking.start_run" else 1)
