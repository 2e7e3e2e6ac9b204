"""Each check of the house's rules notices when one is broken; that none is, `make lint` says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tools import check_budgets, check_fences, check_locks, check_migrations, check_test_names, check_words, write_sbom

ROOT = Path(__file__).resolve().parent.parent
CHECKS = [check_budgets, check_fences, check_locks, check_migrations, check_test_names, check_words]

# Put together here, so that this file does not break the rules it tests.
NOTE = "TO" + "DO"
MACHINE_PATH = "/" + "home/me/notes"


def rules(check: ModuleType, root: Path) -> list[str]:
    return sorted({finding.rule for finding in check.find(root) if not finding.is_warning})


def plant(root: Path, path: str, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_every_check_is_tested_here() -> None:
    assert {path.stem for path in (ROOT / "tools").glob("check_*.py")} == {
        check.__name__.removeprefix("tools.") for check in CHECKS
    }


@pytest.mark.parametrize(
    ("path", "target"),
    [("data/a.py", "pipelines"), ("kernel/a.py", "store"), ("worker/a.py", "server"), ("vault/a.py", "kernel")],
    ids=["sideways", "upwards", "beside", "a room nobody placed"],
)
def test_a_crossed_import_line_is_found(tmp_path: Path, path: str, target: str) -> None:
    for room in ("kernel", "store", "data", "pipelines", "worker", "server", Path(path).parent):
        plant(tmp_path, f"src/loopwright/{room}/__init__.py")
    plant(tmp_path, "src/loopwright/__init__.py")
    plant(tmp_path, f"src/loopwright/{path}", f"import loopwright.{target}\n")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", ROOT / "pyproject.toml"]
    settings = {"PYTHONPATH": str(tmp_path / "src")}
    answer = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "import line BROKEN" in answer.stdout


def test_the_line_of_rooms_is_told_as_it_is_checked() -> None:
    """Whoever draws the map from the pages draws the one that import-linter keeps, of rooms that are there."""
    [contract] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    checked = [[room.strip("() ") for room in layer.split("|")] for layer in reversed(contract["layers"])]
    for page in ("CONTRIBUTING.md", "docs/explanation/the-house.md"):
        line = re.search(r"kernel < store.*\n.*demo", (ROOT / page).read_text())
        assert line is not None, page
        told = [[room.strip() for room in part.split("|")] for part in line[0].split("<")]
        assert told == checked, page
    rooms = {file.parent.name for file in (ROOT / "src/loopwright").glob("*/__init__.py")}
    assert rooms == {room for layer in checked for room in layer}


def test_a_room_asks_for_its_project_in_one_way() -> None:
    """A statement about a project takes ``tx``, which says whose: nobody can name another one beside it."""
    asked = re.compile(r"def (\w+)\(\s*connection: Connection,\s*project: str")
    places = [*(ROOT / "src/loopwright").glob("*/sql.py"), *(ROOT / "src/loopwright").glob("*/sql/*.py")]
    rooms = [place for place in places if "store" not in place.parts]
    assert len(rooms) >= 9
    assert [(str(place), name) for place in rooms for name in asked.findall(place.read_text())] == []


@pytest.mark.parametrize(
    ("path", "line", "rule"),
    [
        ("data/versions.py", "import sqlalchemy", "sql: sqlalchemy"),
        ("data/versions.py", "from sqlalchemy import select", "sql: sqlalchemy.select"),
        ("data/versions.py", "from starlette.requests import Request", "web: starlette.requests.Request"),
        ("data/versions.py", "import os\nx = os.environ['A']", "environment: os.environ"),
        ("data/versions.py", "from os import getenv as g", "environment: os.getenv"),
        ("registry/versions.py", "import lightgbm", "model-library: lightgbm"),
        ("registry/versions.py", "def f():\n    import torch", "model-library: torch"),
        ("features/rows.py", "import torch", "model-library: torch"),
        ("data/versions.py", "import datetime as d\nx = d.datetime.now(d.UTC)", "clock: datetime.datetime.now"),
        ("data/versions.py", "from datetime import date\nx = date.today()", "clock: datetime.date.today"),
        ("data/versions.py", "from time import time", "clock: time.time"),
        ("data/versions.py", "import pickle", "pickle: pickle"),
        ("registry/flavours/sklearn.py", "from joblib import load", "pickle: joblib.load"),
        ("data/versions.py", "def f():\n    import json", "hidden import: json"),
        ("features/views.py", "import loopwright.data.sql", "front door: loopwright.data.sql"),
        ("features/views.py", "from loopwright.data.sql import x", "front door: loopwright.data.sql.x"),
        ("features/views.py", "from loopwright.data import sql", "front door: loopwright.data.sql"),
        ("features/views.py", "from loopwright.data import versions", "front door: loopwright.data.versions"),
    ],
)
def test_a_crossed_fence_is_found(tmp_path: Path, path: str, line: str, rule: str) -> None:
    for inner in ("versions", "sql"):
        plant(tmp_path, f"src/loopwright/data/{inner}.py")
    plant(tmp_path, "src/loopwright/data/__init__.py", "from loopwright.data.versions import add\n")
    plant(tmp_path, f"src/loopwright/{path}", f"{line}\n")
    assert rules(check_fences, tmp_path) == [rule]


@pytest.mark.parametrize("folder", ["templates", "static", "build", "results"])
def test_no_folder_hides_a_file_by_its_name(tmp_path: Path, folder: str) -> None:
    plant(tmp_path, f"src/loopwright/cli/{folder}/__init__.py", "def f():\n    import json\n")
    assert rules(check_fences, tmp_path) == ["hidden import: json"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("store/engine.py", "import sqlalchemy"),
        ("data/tables.py", "import sqlalchemy"),
        ("data/sql/versions.py", "from sqlalchemy import select"),
        ("server/app.py", "import starlette"),
        ("gateway/config.py", "import os\nx = os.environ['A']"),
        ("registry/flavours/lightgbm.py", "import lightgbm"),
        ("features/rows.py", "def f():\n    import torch\n    return torch.float32"),
        ("kernel/clock.py", "import time\nx = time.time_ns()"),
        ("data/versions.py", "import time\nx = time.monotonic()"),
        ("data/versions.py", "def f():\n    import polars"),
        ("features/views.py", "from loopwright.data import add, diff"),
        ("features/views.py", "from loopwright.kernel.refs import Ref"),
        ("data/views.py", "from loopwright.data import sql"),
    ],
)
def test_what_is_allowed_passes_the_fences(tmp_path: Path, path: str, line: str) -> None:
    # `diff` is a file and also a function that the front door exports.
    plant(tmp_path, "src/loopwright/data/diff.py")
    plant(tmp_path, "src/loopwright/data/__init__.py", "from loopwright.data.diff import add, diff\n")
    plant(tmp_path, f"src/loopwright/{path}", f"{line}\n")
    assert rules(check_fences, tmp_path) == []


def test_an_overdrawn_budget_is_found(tmp_path: Path) -> None:
    deep = "def deep(a):\n    if a:\n        for b in a:\n            with b:\n                while b: pass\n"
    flat = "def flat(a):\n    if a: pass\n    elif 1: pass\n    elif 2: pass\n    elif 3: pass\n"
    wide = "class Wide:\n" + "".join(f"    def m{number}(self): ...\n" for number in range(13))
    plant(tmp_path, "src/loopwright/kernel/a.py", deep + flat + wide)
    plant(tmp_path, "tests/kernel/test_a.py", "def long():\n" + "    pass\n" * 60)
    plant(tmp_path, "tests/kernel/test_b.py", "x = 1\n" * 601)
    assert rules(check_budgets, tmp_path) == [
        "601 lines, allowed 600",
        "Wide has 13 public methods, allowed 12",
        "deep nests 4 deep, allowed 3",
        "long has 61 lines, allowed 60",
    ]


def test_a_docstring_costs_no_budget_and_a_long_file_warns_first(tmp_path: Path) -> None:
    told = 'def told():\n    """' + "word\n" * 80 + '"""\n'
    plant(tmp_path, "src/loopwright/kernel/a.py", told + "x = 1\n" * 400)
    (warning,) = check_budgets.find(tmp_path)
    assert warning.is_warning


def test_many_long_functions_are_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/loopwright/kernel/a.py", "".join(f"def f{n}():\n" + "    pass\n" * 40 for n in range(5)))
    assert rules(check_budgets, tmp_path) == ["1 function in 20 has 41 lines or more, allowed 35"]


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("src/loopwright/kernel/date_utils.py", "", "module date_utils is called 'utils'"),
        ("src/loopwright/common/ids.py", "", "module common is called 'common'"),
        ("src/loopwright/kernel/a.py", "class RunManager: ...", "class RunManager is called 'manager'"),
        ("tests/kernel/test_a.py", "def make_helper(): ...", "function make_helper is called 'helper'"),
        ("src/loopwright/kernel/a.py", "def handle_event(): ...", "function handle_event begins with 'handle'"),
        ("src/loopwright/kernel/a.py", "data = 1", "variable named data"),
        ("src/loopwright/kernel/a.py", "def f(data): ...", "variable named data"),
        ("src/loopwright/kernel/a.py", "for data in []: ...", "variable named data"),
        ("docs/a.md", f"{NOTE} later", NOTE),
        ("src/loopwright/kernel/a.py", f"# {NOTE}", NOTE),
        ("docs/a.md", f"see {MACHINE_PATH}", "path of one machine"),
    ],
)
def test_an_empty_word_is_found(tmp_path: Path, path: str, text: str, rule: str) -> None:
    plant(tmp_path, path, f"{text}\n")
    assert rules(check_words, tmp_path) == [rule]


def test_plain_words_pass(tmp_path: Path) -> None:
    text = (
        "class CloudEvent:\n    data: bytes\n\ndef utilisation(): ...\n\n# src/home/x, https://example.org/home/x\n"
        "class Json(TypeDecorator):\n    def process_bind_param(self): ...\n"
    )
    plant(tmp_path, "src/loopwright/kernel/a.py", text)
    assert rules(check_words, tmp_path) == []


def test_a_test_without_a_source_is_found(tmp_path: Path) -> None:
    for path in ("kernel/ids.py", "data/checks/builtin.py", "store/blobs/__init__.py"):
        plant(tmp_path, f"src/loopwright/{path}")
    named = ("kernel/test_ids.py", "data/test_checks_builtin.py", "data/checks/test_builtin.py", "store/test_blobs.py")
    for path in (*named, "flows/test_loop.py", "test_package.py", "kernel/test_gone.py"):
        plant(tmp_path, f"tests/{path}")
    assert rules(check_test_names, tmp_path) == ["no src/loopwright/kernel/gone.py"]


def test_a_check_says_where_why_and_what_to_do(tmp_path: Path) -> None:
    plant(tmp_path, "src/loopwright/data/versions.py", "import pickle\n")
    command = [sys.executable, "-m", "tools.check_fences", str(tmp_path)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stdout.splitlines() == [
        "src/loopwright/data/versions.py:1: pickle: pickle: loading a pickle runs its author's code. "
        "Do: use a codec, msgspec, or a flavour's own format.",
        "fences: 1 broken",
    ]


def test_migrations_stand_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "src/loopwright/store/migrations/versions"
    folder.mkdir(parents=True)
    (folder / "0001_ground.py").write_text('revision = "0001"\ndown_revision = None\n')
    (folder / "0002_more.py").write_text('revision = "0002"\ndown_revision = "0001"\n')
    assert rules(check_migrations, tmp_path) == []
    (folder / "0002_other.py").write_text('revision = "0002"\ndown_revision = "0001"\n')
    assert rules(check_migrations, tmp_path) == ["revision 0002 after 0001, where 0002 was the newest"]


def plant_locks(root: Path) -> Path:
    """Copy what locks are made from, and the locks; return the folder of these."""
    plant(root, "pyproject.toml", (ROOT / "pyproject.toml").read_text())
    for file in (ROOT / "locks").iterdir():
        plant(root, f"locks/{file.name}", file.read_text())
    return root / "locks"


def test_a_lock_that_cannot_be_trusted_is_found(tmp_path: Path) -> None:
    locks = plant_locks(tmp_path)
    assert rules(check_locks, tmp_path) == []
    serve, sound = locks / "serve.txt", (locks / "serve.txt").read_text()
    for before, after, rule in (
        ("click==", "click==0.", "click is 0."),
        ("starlette==", "# starlette==", "starlette is missing"),
        ("# made from ", "# made from 0", "not made from this pyproject.toml"),
        ("click==", "--extra-index-url https://example.org/\nclick==", "a lock names where files come from"),
    ):
        serve.write_text(sound.replace(before, after, 1))
        assert any(told.startswith(rule) for told in rules(check_locks, tmp_path)), rule
    serve.write_text("\n".join(line for line in sound.splitlines() if "--hash" not in line))
    assert "click has no hash" in rules(check_locks, tmp_path)
    serve.unlink()
    assert rules(check_locks, tmp_path) == ["a lock is missing"]


def test_a_new_requirement_asks_for_new_locks(tmp_path: Path) -> None:
    plant_locks(tmp_path)
    declared = tmp_path / "pyproject.toml"
    declared.write_text(declared.read_text().replace('"click>=', '"left-pad>=1",\n    "click>='))
    assert rules(check_locks, tmp_path) == ["left-pad is missing", "not made from this pyproject.toml"]


def test_a_bill_of_materials_names_what_a_lock_installs() -> None:
    bill = write_sbom.bill(ROOT, "serve")
    names = {part["name"] for part in bill["components"]}
    assert {"click", "sqlalchemy", "lightgbm"} <= names
    assert "pytest" not in names
    assert all(part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}" for part in bill["components"])
