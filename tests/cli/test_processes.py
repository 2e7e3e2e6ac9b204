"""Commands about processes: where a platform is, and who one is there."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import exc

from loopwright.cli import processes, starting
from loopwright.client.tokens import tokens_file
from loopwright.config import STATE, load_settings
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, approvals
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import NotFound, Unauthenticated, Unavailable
from loopwright.pipelines import Claim, EndedStep, PipelineSpec, StepSpec
from loopwright.server import Supervisor
from tests.cli.conftest import loopwright
from tests.server.site import Site, serve
from tests.servers import free_port
from tests.waiting import PATIENCE_S

FAILURE = {"code": "step_failed", "message": "no such column", "field": "flights.late", "rule": "one of them"}


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


def test_a_token_that_is_piped_in_is_the_one_that_counts(guarded: Site) -> None:
    loopwright("login", typed=guarded.tokens["viewer"] + "\n")
    with pytest.raises(Unauthenticated):
        loopwright("login", typed="lwt_wrong\n")
    assert "project flights" in loopwright("status"), "the one that was kept stays"
    loopwright("login", typed=guarded.tokens["admin"] + "\n")
    assert guarded.tokens["admin"] in tokens_file().read_text()
    loopwright("login", "--forget")


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


@pytest.fixture
def open_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with two projects that both are anybody's here."""
    for site in serve(tmp_path, is_open=True):
        monkeypatch.setenv("LOOPWRIGHT_URL", site.url)
        yield site


def test_what_status_says_to_type_works_where_there_are_several_projects(open_site: Site) -> None:
    def ask(connection: Any) -> None:
        tx = open_site.context.dispatcher.tx(connection, "flights", SERVICE_ACTOR)
        for name in ("late", "kind"):
            approvals.ask(tx, f"flights/deployment:{name}", "release it?", "0" * 64)

    open_site.context.database.write(ask)
    first, second = re.findall(r"needs you: .*\(loopwright (.*)\)", loopwright("status", "-p", "flights"))
    assert first.endswith(" -p flights")
    loopwright(*shlex.split(first))
    assert loopwright("status", "-p", "flights").count("needs you") == 1
    loopwright(*shlex.split(second))
    assert "nothing needs you" in loopwright("status", "-p", "flights")


def test_the_steps_of_an_execution_are_followed_until_it_ends(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens["admin"])
    call = partial(guarded.context.dispatcher.call, actor=SERVICE_ACTOR, project="flights")
    code = CodeRef("0" * 64, "project", "step", "1" * 64)
    steps = [StepSpec("load", "call", {}, code), StepSpec("fit", "call", {"rows": {"step": "load"}}, code)]
    local = partial(guarded.context.dispatcher.call, actor=LOCAL_ACTOR, project="flights")
    local("pipelines.declare", {"spec": PipelineSpec("train", steps)})
    execution_id = local("pipelines.start", {"pipeline": "train"}).execution_id
    claim = Claim(execution_id, 1, 1)
    log = guarded.context.blobs.put(b"read 7 rows")
    ended = iter(
        ([], [EndedStep("load", 1, output=7, log_digest=log.digest, blobs=[log])], [EndedStep("fit", 1, error=FAILURE)])
    )

    def work(_: float) -> None:
        call(
            "pipelines.advance",
            {"claim": claim, "environment": "e" * 64, "free": 2, "running": [], "ended": next(ended)},
        )

    call("pipelines.take", {"claim": claim})
    monkeypatch.setattr("loopwright.client.waiting.time.sleep", work)
    assert loopwright("logs", execution_id, "--follow").splitlines() == [
        "--- load: done",
        "read 7 rows",
        "--- fit: failed",
        "error: no such column",
        "  field: flights.late",
        "  rule: one of them",
        f"{execution_id} failed",
        "next: mended in the code: loopwright apply FILE, then loopwright start train; "
        f"mended elsewhere: loopwright retry {execution_id}",
    ]
    told = json.loads(loopwright("logs", execution_id, "--json"))
    assert [(one["step"], one["state"], one["log"]) for one in told] == [
        ("load", "done", "read 7 rows"),
        ("fit", "failed", ""),
    ]


def test_status_waits_for_no_server_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is stopped takes connections, and never answers."""
    monkeypatch.setattr(processes, "_ANSWERS_WITHIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        monkeypatch.setenv("LOOPWRIGHT_URL", f"http://127.0.0.1:{stopped.getsockname()[1]}")
        with pytest.raises(Unavailable, match="does not answer") as told:
            loopwright("status")
    assert "loopwright doctor" in str(told.value.next_step)
    with pytest.raises(Unavailable, match="cannot reach"):
        loopwright("status")


def test_status_says_first_that_nothing_can_be_written(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    database, disk = open_site.context.database, OSError("No space left on device")
    monkeypatch.setattr(database._doubts, "ended", lambda: None)  # the server finds out that this disk is not full
    database.note(exc.OperationalError("insert", None, disk))
    first = next(line for line in loopwright("status", "-p", "flights").splitlines() if "needs you" in line)
    assert first.startswith("needs you: critical: nothing can be written to the database since ")
    assert "the disk is full" in first
    assert "start worker and gateway again" in first


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
    assert process.communicate(timeout=PATIENCE_S)[0] == ""


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (("server", "worker", "gateway"), "Loopwright is up: http://server (predictions: http://gateway)"),
        (("server",), "Loopwright is up: http://server"),
        (("gateway",), "up: gateway (predictions: http://gateway), of the server at http://server"),
        (("worker",), "up: worker, of the server at http://server"),
    ],
)
def test_up_names_what_runs_here(
    roles: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = msgspec.structs.replace(load_settings(tmp_path), url="http://server", gateway_url="http://gateway")
    starting.tell_where(Supervisor(settings, roles))
    assert capsys.readouterr().out.splitlines()[0] == said


def test_a_state_folder_above_is_found_and_up_begins_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOPWRIGHT_STATE", raising=False)
    (tmp_path / STATE).mkdir()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert load_settings().state_dir == tmp_path / STATE
    assert load_settings(here=True).state_dir == below / STATE
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert load_settings().state_dir == below / STATE, "a folder of somebody else's is not taken"


@pytest.mark.slow
def test_a_log_is_followed_also_when_it_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "server.log"
    log.write_text("one\ntwo\n")
    environment = {**os.environ, "LOOPWRIGHT_STATE": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", "from loopwright.cli.main import main; main()", "logs", "server", "-f", "-n", "1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "two\n"
        with log.open("a") as file:
            file.write("three\n")
        assert follower.stdout.readline() == "three\n"
        log.write_text("anew\n")
        assert follower.stdout.readline() == "anew\n"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE_S) == 130
