"""The command line: quick help, clear errors, never a stack trace."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.cli.main import COMMANDS, cli
from tests.servers import free_port
from tests.waiting import PATIENCE_S


def loopwright(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
    command = [sys.executable, "-c", "from loopwright.cli import main; main()", *arguments]
    return subprocess.run(
        command, cwd=folder, env=kept | environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )


def test_help_lists_every_command_and_imports_none(tmp_path: Path) -> None:
    code = """
import sys
from loopwright.cli import main
sys.argv = ["loopwright", "--help"]
try:
    main()
finally:
    print(*sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    for name in COMMANDS:
        assert f"  {name}" in answer.stdout
    assert not {"polars", "sqlalchemy", "httpx", "starlette"} & set(answer.stdout.split())


def test_up_imports_nothing_that_its_processes_alone_need() -> None:
    code = "import sys; from loopwright.cli.main import cli; cli.get_command(None, 'up'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "loopwright.server.supervisor" in loaded
    assert not {"polars", "numpy", "sqlalchemy", "starlette", "loopwright.governance"} & set(loaded)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_explains_itself(name: str) -> None:
    from click.testing import CliRunner

    answer = CliRunner().invoke(cli, [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "Usage" in answer.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status"], "loopwright up"),
        (["why", "nothing"], "loopwright up"),
        (["nonsense"], "No such command"),
        (["staus"], "No such command 'staus'. Did you mean status?"),
        (["deploy", "late", "--versoin", "3"], "--version"),
        (["start", "fit", "-p", "trees=10"], "--param trees=10"),
        (["apply", "missing.py"], "does not exist"),
        (["login"], "loopwright up"),
        (["verify"], "LOOPWRIGHT_STATE"),
        (["backup", "copies"], "LOOPWRIGHT_STATE"),
        (["restore", "copies"], "no backup here"),
    ],
)
def test_errors_say_what_to_do_without_a_stack_trace(tmp_path: Path, arguments: list[str], said: str) -> None:
    answer = loopwright(*arguments, folder=tmp_path)
    assert answer.returncode != 0
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr + answer.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "exit_code", "found"),
    [
        (["status"], 1, {"code": "unavailable", "field": "state_dir", "next_step": "start one with: loopwright up"}),
        (["nonsense"], 2, {"code": "invalid_input", "next_step": "loopwright --help"}),
        (["apply", "missing.py"], 2, {"field": "FILE", "next_step": "loopwright apply --help"}),
        (["deploy", "late", "--version", "new"], 2, {"field": "--version", "next_step": "loopwright deploy --help"}),
        (["deploy", "late", "--versoin", "3"], 2, {"field": "--versoin", "next_step": "loopwright deploy --help"}),
    ],
)
def test_under_json_an_error_is_one_document(
    tmp_path: Path, arguments: list[str], exit_code: int, found: dict[str, str]
) -> None:
    answer = loopwright(*arguments, "--json", folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (exit_code, "")
    document = json.loads(answer.stderr)
    assert list(document) == ["error"]
    assert document["error"]["message"]
    assert {name: document["error"][name] for name in found} == found


@pytest.mark.slow
def test_a_server_that_is_gone_and_a_port_that_is_none_are_clear(tmp_path: Path) -> None:
    for environment, said in (
        ({"LOOPWRIGHT_URL": f"http://127.0.0.1:{free_port()}"}, "cannot reach"),
        ({"LOOPWRIGHT_PORT": "http"}, "LOOPWRIGHT_PORT"),
    ):
        answer = loopwright("status", folder=tmp_path, **environment)
        assert answer.returncode == 1
        assert said in answer.stderr
        assert "Traceback" not in answer.stderr


def test_the_package_runs_as_the_command() -> None:
    told = subprocess.run([sys.executable, "-m", "loopwright", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("loopwright")
