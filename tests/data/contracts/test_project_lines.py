"""The lines of a project file: run, they declare what the contract says; strangers' words stay words."""

import ast
from typing import Any

import pytest

import loopwright as lw
from loopwright.data import CheckSpec, DatasetSpec, KnownAt
from loopwright.data.contracts import LeftOut, Taken, Translation, project_lines

TOLD = Translation(
    "weather", ["origin", "it's"], "observed_at", {"late": KnownAt("landed_at", 3_600_000_000),
    "*": KnownAt("seen_at")},
    ["email"], [Taken(lw.check.not_null("origin")), Taken(lw.check.between("temp", -60), "a note")],
    [LeftOut("strict", "columns are not counted")],
)  # fmt: skip


def run(told: Translation) -> DatasetSpec:
    """What the lines declare, run as a project file runs them."""
    names: dict[str, Any] = {"lw": lw, "p": lw.Project("flights", owner="me")}
    exec("\n".join(project_lines(told)), names)
    [made] = [one for one in names.values() if type(one).__name__ == "Dataset"]
    spec: DatasetSpec = made.spec
    return spec


def test_the_lines_of_a_contract() -> None:
    assert project_lines(TOLD) == [
        "weather = p.dataset(",
        "    'weather',",
        "    lw.source.frame(),  # say where its rows come from",
        "    key=['origin', \"it's\"],",
        "    time='observed_at',",
        "    known_at={'late': lw.after('landed_at', '1h'), '*': lw.after('seen_at', '0d')},",
        "    personal=['email'],",
        "    checks=[",
        "        lw.check.not_null('origin'),",
        "        lw.check.between('temp', low=-60),  # a note",
        "    ],",
        ")",
        "# left out: strict: columns are not counted",
    ]


def test_run_they_declare_it() -> None:
    spec = run(TOLD)
    assert (spec.name, spec.key, spec.time, spec.known_at) == (TOLD.name, TOLD.key, TOLD.time, TOLD.known_at)
    assert (spec.personal, spec.checks) == (TOLD.personal, [taken.check for taken in TOLD.checks])


def test_a_key_that_is_not_told_is_asked_for() -> None:
    lines = project_lines(Translation("t", [], None, {}, [], [], []))
    assert lines[3] == "    key=[],  # name the columns that tell a row apart"
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("name", "variable"), [("p", "dataset_p"), ("lw", "dataset_lw"), ("class", "dataset_class"), ("2024",
    "dataset_2024"),
                           ("a.b-c", "a_b_c")],
)  # fmt: skip
def test_the_name_of_a_variable_is_one(name: str, variable: str) -> None:
    lines = project_lines(Translation(name, ["a"], None, {}, [], [], []))
    assert lines[0] == f"{variable} = p.dataset("
    assert run(Translation(name, ["a"], None, {}, [], [], [])).name == name


def test_words_of_strangers_begin_no_line() -> None:
    evil = "x\nimport os\r\u2028os.system('x')\x1b[2J"
    told = Translation(
        "t", [evil], evil, {evil: KnownAt(evil)}, [evil], [Taken(lw.check.not_null(evil), evil),
        Taken(CheckSpec(evil))],
        [LeftOut(evil, evil)],
    )  # fmt: skip
    lines = project_lines(told)
    assert all(len(line.splitlines()) == 1 and line.isprintable() for line in lines)
    [statement] = ast.parse("\n".join(lines)).body
    assert isinstance(statement, ast.Assign)
    assert lines[9].startswith("        # left out: ")
