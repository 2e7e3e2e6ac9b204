"""Commands about processes: where a platform is, and who one is there."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from loopwright.cli.main import cli
from loopwright.client.tokens import tokens_file
from loopwright.kernel.errors import NotFound, Unauthenticated
from loopwright.server.supervisor import free_port
from tests.server.site import Site, serve


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server that asks for tokens, and a user who has kept none."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for site in serve(tmp_path, is_open=False):
        monkeypatch.delenv("LOOPWRIGHT_TOKEN", raising=False)
        monkeypatch.setenv("LOOPWRIGHT_URL", site.url)
        yield site


def loopwright(*arguments: str, typed: str = "") -> str:
    answer = CliRunner().invoke(cli, arguments, input=typed, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_login_keeps_the_token_that_is_given(guarded: Site) -> None:
    for wrong in ("", "lwt_wrong\n"):
        with pytest.raises(Unauthenticated):
            loopwright("login", typed=wrong)
        assert not tokens_file().exists()
    said = loopwright("login", typed=guarded.tokens["viewer"] + "\n")
    assert f"logged in at {guarded.url}; projects: flights" in said
    assert str(tokens_file()) in said
    assert guarded.tokens["viewer"] not in said
    assert "project flights" in loopwright("status")
    assert json.loads(loopwright("login", "--json")) == {"url": guarded.url, "projects": ["flights"], "kept_in": None}
    loopwright("login", "--forget")
    with pytest.raises(Unauthenticated):
        loopwright("status", "--project", "flights")


def test_a_token_in_the_environment_is_used_and_not_kept(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens["admin"])
    assert "logged in" in loopwright("login")
    assert "LOOPWRIGHT_TOKEN=lwt_" in loopwright("login", "--create", "person:ana", "--project", "flights")
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", "lwt_wrong")
    with pytest.raises(Unauthenticated):
        loopwright("login", typed=guarded.tokens["viewer"] + "\n")
    assert not tokens_file().exists()


def test_logs_know_an_empty_file_from_none_and_a_name_nearly_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path))
    assert loopwright("logs", "gateway").startswith("no log yet at ")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "gateway.log").touch()
    assert loopwright("logs", "gateway").endswith("gateway.log is empty so far\n")
    with pytest.raises(NotFound, match="loopwright logs gateway"):
        loopwright("logs", "gatway")


@pytest.mark.slow
def test_up_says_where_it_is_and_its_logs_can_be_read(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
    command = [sys.executable, "-c", "from loopwright.cli import main; main()"]
    ports = ["--port", str(free_port()), "--gateway-port", str(free_port())]
    process = subprocess.Popen(
        [*command, "up", "--json", *ports], cwd=tmp_path, env=kept, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "}\n")
    where = json.loads("".join(lines) + "}")
    assert where["url"] == f"http://127.0.0.1:{ports[1]}"
    assert where["gateway_url"] == f"http://127.0.0.1:{ports[3]}"
    logs = subprocess.run(
        [*command, "logs", "worker", "--json"], cwd=tmp_path, env=kept, capture_output=True, text=True
    )
    found = json.loads(logs.stdout)
    assert found["file"] == f"{where['logs']}/worker.log"
    assert isinstance(found["lines"], list)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == ""
