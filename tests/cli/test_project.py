"""``init`` writes projects that can be read, and overwrites nothing."""

import io
import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from loopwright.cli.examples import example_folder
from loopwright.cli.main import cli
from loopwright.cli.project import _is_wanted, load_project
from loopwright.governance import SERVICE_ACTOR
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.store.compacting import Compact
from tests.cli.conftest import loopwright
from tests.server.site import Site

ROOT = Path(__file__).parents[2]


def init(*arguments: str | Path) -> str:
    answer = CliRunner().invoke(cli, ["init", *map(str, arguments)], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


@pytest.mark.parametrize(
    ("template", "files", "project", "deployment"),
    [
        ("tabular", ["project.py"], "new", "endpoint"),
        ("external", ["project.py"], "new", "scorecard"),
        ("flights", ["flights.py", "ingest.py"], "flights", "late"),
    ],
)
def test_a_template_is_a_project_that_can_be_read(
    tmp_path: Path, template: str, files: list[str], project: str, deployment: str
) -> None:
    folder = tmp_path / "new"
    written = json.loads(init(folder, "--template", template, "--json"))
    assert written == [str(folder / name) for name in files]
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)
    found = load_project(folder / files[0])
    assert found.name == project
    assert f"deployment:{deployment}" in found.draft.declared


@pytest.mark.parametrize(
    ("folder", "project"), [("my shop (2)", "my-shop-2"), ("-.x", "x"), ("Läden", "L-den"), ("лавка", "my-project")]
)
def test_a_project_is_called_as_its_folder(tmp_path: Path, folder: str, project: str) -> None:
    init(tmp_path / folder, "--template", "external")
    file = tmp_path / folder / "project.py"
    assert load_project(file).name == project
    assert f'connect(project="{project}")' in file.read_text()


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ingest.py").write_text("mine")
    with pytest.raises(Conflict, match="exists already"):
        init(tmp_path, "--template", "flights")
    assert [path.name for path in tmp_path.iterdir()] == ["ingest.py"]
    assert (tmp_path / "ingest.py").read_text() == "mine"


def test_what_to_do_next_is_said(tmp_path: Path) -> None:
    said = init(tmp_path)
    assert f"wrote {tmp_path / 'project.py'}" in said
    assert f"loopwright apply {tmp_path / 'project.py'}" in said


def test_what_to_do_next_can_be_pasted(tmp_path: Path) -> None:
    assert f"loopwright apply '{tmp_path / 'my shop' / 'project.py'}'" in init(tmp_path / "my shop")


def test_the_example_is_part_of_an_installed_package() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = document["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {Path(source).name for source in shipped} >= {"flights.py", "ingest.py"}
    for source, place in shipped.items():
        assert (ROOT / source).is_file()
        assert Path(place).parent == Path("loopwright/examples/flights")
    assert example_folder() == ROOT / "examples" / "flights"
    extras = document["project"]["optional-dependencies"]
    assert any("loopwright[lightgbm]" in one for one in extras["demo"])
    # The example fits an LGBMClassifier, which LightGBM refuses to make without scikit-learn.
    assert any(one.startswith("scikit-learn") for one in extras["lightgbm"])


def test_a_file_that_is_no_python_is_a_clear_error() -> None:
    with pytest.raises(InvalidInput, match=r"README.md is no Python file") as refused:
        load_project(ROOT / "README.md")
    assert refused.value.field == "file"


def test_an_error_in_a_file_names_its_line_however_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong.py").write_text("import loopwright as lw\n\np = lw.Projekt('x')\n")
    monkeypatch.chdir(tmp_path)
    for name in (Path("wrong.py"), tmp_path / "wrong.py"):
        with pytest.raises(InvalidInput, match="AttributeError") as refused:
            load_project(name)
        assert refused.value.field == "wrong.py:3"


@pytest.mark.parametrize("command", ["predict", "label"])
def test_a_typed_row_that_is_no_object_is_named(command: str) -> None:
    with pytest.raises(InvalidInput, match=r"this row is no object.*rows\[1\]"):
        CliRunner().invoke(cli, [command, "late", '[{"hours": 1}, 1]'], catch_exceptions=False)


def test_a_plan_is_not_made_so_unseen(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("import loopwright as lw\n\np = lw.Project('x')\n")
    with pytest.raises(InvalidInput, match="--plan to see it, or --yes"):
        CliRunner().invoke(cli, ["apply", str(tmp_path / "some.py"), "--json"], catch_exceptions=False)


def test_a_plan_that_nobody_answers_says_how_to_answer_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(InvalidInput, match="nobody answered") as told:
        _is_wanted()
    assert told.value.field == "--yes"


def test_an_apply_says_whether_it_changed_anything(
    guarded: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens["admin"])
    file = tmp_path / "shop.py"
    file.write_text('import loopwright as lw\n\np = lw.Project("flights")\np.external("late", task="binary")\n')
    assert loopwright("apply", "--plan", str(file)).endswith("nothing was changed\n")
    assert loopwright("apply", "--yes", str(file)).endswith("\napplied\n")
    assert loopwright("apply", str(file)).endswith("nothing to change: this is applied already\n")


@pytest.mark.parametrize("job_id", [None, "window-late-1689933600000000-closed", "labels-late-1689933600000000"])
def test_a_job_is_ended_and_done_again_by_the_id_that_it_has(
    guarded: Site, monkeypatch: pytest.MonkeyPatch, job_id: str | None
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens["admin"])
    job = guarded.context.dispatcher.write(
        "flights", SERVICE_ACTOR, lambda tx: tx.start_job(Compact(), tx.ref("project", tx.project), job_id=job_id)
    )
    assert loopwright("cancel", job.job_id) == f"{job.job_id} cancelled\n"
    assert loopwright("retry", job.job_id, "--detach") == f"{job.job_id} queued\n"
