"""The command itself, and the files it made; the whole of it: tests/flows/test_command.py."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest

from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import InvalidInput, StepFailed
from loopwright.loop import ModelOutput
from loopwright.loop.commanding import run_and_inspect
from loopwright.registry import SavedModel, load_model


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
