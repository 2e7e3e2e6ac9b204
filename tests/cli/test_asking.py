"""Commands that list and call, against a real server that asks for tokens."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from loopwright.cli.connection import remote, remote_with
from loopwright.governance import SERVICE_ACTOR, SYSTEM, Project
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.pipelines import PipelineSpec, StepSpec
from tests.cli.conftest import loopwright
from tests.server.site import Site

As = Callable[[str], None]


@pytest.fixture
def as_role(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> As:
    """Take the token of a role."""
    return lambda role: monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens[role])


def test_any_verb_is_called_by_name_and_its_values_are_read_as_json(as_role: As) -> None:
    as_role("editor")
    started = json.loads(loopwright("call", "tracking.start_run", "experiment=x", 'params={"rate": 0.1}'))
    assert started["params"] == {"rate": 0.1}
    loopwright("call", "tracking.log", f"run_id={started['run_id']}", 'metrics={"auc": 0.75}', "step=3")
    assert "0.750" in loopwright("runs", "--filter", "metrics.auc > 0.7")
    loopwright("call", "tracking.log", f"run_id={started['run_id']}", 'metrics={"a1": 1, "a2": 1, "a3": 1, "a4": 1}')
    assert "auc" not in loopwright("runs").splitlines()[0]
    for option in (("--filter", "metrics.auc > 0.7"), ("--order-by", "metrics.auc desc")):
        assert loopwright("runs", *option).split()[5:8] == ["auc", "a1", "a2"]
    assert json.loads(loopwright("runs", "--json", "-e", "x"))[0]["metrics"]["auc"] == 0.75
    with pytest.raises(NotFound, match="no verb is named"):
        loopwright("call", "tracking.lgo")
    with pytest.raises(InvalidInput, match="name=value"):
        loopwright("call", "tracking.log", "metrics")
    as_role("viewer")
    with pytest.raises(PermissionDenied):
        loopwright("call", "tracking.start_run", "experiment=x")


def test_projects_and_datasets_are_listed(as_role: As) -> None:
    as_role("viewer")
    assert "flights" in loopwright("projects")
    assert [one["name"] for one in json.loads(loopwright("projects", "--json"))] == ["flights"]
    assert loopwright("datasets").startswith("dataset")


def test_incidents_are_listed_taken_and_ended(guarded: Site, as_role: As) -> None:
    as_role("editor")
    assert "no incident is open" in loopwright("incidents")
    alert = {"subject": "flights/deployment:late", "kind": "errors", "message": "12 of 99 failed"}
    raised = guarded.context.dispatcher.call("monitoring.raise_alert", alert, actor=SERVICE_ACTOR, project="flights")
    assert "12 of 99 failed" in loopwright("incidents")
    assert "acknowledged" in loopwright("incidents", "--ack", raised.incident_id)
    with pytest.raises(InvalidInput, match="why"):
        loopwright("incidents", "--resolve", raised.incident_id)
    assert "resolved" in loopwright("incidents", "--resolve", raised.incident_id, "--reason", "restarted")
    assert "no incident is open" in loopwright("incidents")
    assert "resolved" in loopwright("incidents", "--all")


def test_tokens_are_created_listed_without_their_secret_and_revoked(as_role: As) -> None:
    as_role("admin")
    secret = loopwright("tokens", "--create", "person:bo", "--role", "editor", "--expires-in", "1d", "-p", "flights")
    secret = secret.strip().removeprefix("export LOOPWRIGHT_TOKEN=")
    listed = json.loads(loopwright("tokens", "--json", "-p", "flights"))
    bo = next(one for one in listed if one["actor"] == "person:bo")
    assert secret not in loopwright("tokens", "-p", "flights")
    assert "revoked" in loopwright("tokens", "--revoke", bo["token_id"], "--reason", "left", "-p", "flights")
    as_role("viewer")
    with pytest.raises(PermissionDenied):
        loopwright("tokens", "-p", "flights")


def test_an_id_is_found_in_whichever_project_it_is(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens["service"])

    def call(verb: str, project: str, /, **args: Any) -> Any:
        return guarded.context.dispatcher.call(verb, args, actor=SERVICE_ACTOR, project=project)

    for name in ("first", "second"):
        call("projects.create", SYSTEM, name=name, owner="ops")
    step = StepSpec("fit", "call", {}, CodeRef("c" * 64, "project", "fit", "f" * 64))
    call("pipelines.declare", "second", spec=PipelineSpec("fit", [step]))
    started = call("pipelines.start", "second", pipeline="fit")
    found, execution = remote_with(None, "pipelines.get", execution_id=started.execution_id)
    assert (found.project, execution.execution_id) == ("second", started.execution_id)
    with pytest.raises(NotFound):
        remote_with(None, "pipelines.get", execution_id="exe_nowhere")


def test_a_project_is_deleted_by_an_admin_who_was_told_what_ends(as_role: As) -> None:
    as_role("editor")
    loopwright("call", "tracking.start_run", "experiment=x")
    with pytest.raises(PermissionDenied):
        loopwright("delete", "flights", "--reason", "done with it", "--yes")
    as_role("admin")
    with pytest.raises(InvalidInput, match="nobody answered"):
        loopwright("delete", "flights", "--reason", "done with it")
    assert "is closed" in loopwright("delete", "flights", "--reason", "done with it", "--close", "--yes")
    with pytest.raises(Conflict, match="was closed"):
        loopwright("call", "tracking.start_run", "experiment=x", "-p", "flights")
    assert "flights" not in loopwright("projects")
    assert "closed at 2" in loopwright("projects", "--closed")
    assert "rows are being removed" in loopwright("delete", "flights", "--reason", "done with it", "--yes")
    assert "deleted at 2" in loopwright("projects", "--closed")


def test_a_thing_is_deleted_by_its_ref_once_somebody_said_so(as_role: As) -> None:
    as_role("editor")
    run_id = json.loads(loopwright("call", "tracking.start_run", "experiment=x", 'params={"rate": 0.1}'))["run_id"]
    assert "        1  run\n" in loopwright("delete", "experiment:x", "--plan")
    loopwright("call", "tracking.start_run", "experiment=x")
    assert "        2  runs\n" in loopwright("delete", "experiment:x", "--plan")
    planned = loopwright("delete", f"run:{run_id}", "--plan")
    assert f"run {run_id} goes on" in planned
    assert f"loopwright call tracking.finish_run run_id={run_id} state=killed" in planned
    plan = remote("flights").deletion_plan(f"run:{run_id}")
    assert (plan.ref, plan.rows, plan.made_of_it) == (f"flights/run:{run_id}", {"run_params": 1}, [])
    assert [(hold.ref, hold.why) for hold in plan.holds] == [(plan.ref, f"run {run_id} goes on")]
    assert remote("flights").call("tracking.get_run", run_id=run_id).state == "running"  # it changed nothing
    with pytest.raises(NotFound, match="run_nowhere"):
        remote("flights").deletion_plan("run:run_nowhere")
    with pytest.raises(Conflict, match="goes on"):
        loopwright("delete", f"run:{run_id}", "--reason", "wrong code", "--yes")
    loopwright("call", "tracking.finish_run", f"run_id={run_id}", "state=killed")
    plan = remote("flights").deletion_plan(f"run:{run_id}")
    assert json.loads(loopwright("delete", f"run:{run_id}", "--plan", "--json")) == to_builtins(plan)
    assert plan.holds == []
    with pytest.raises(InvalidInput, match="why is it deleted"):
        loopwright("delete", f"run:{run_id}", "--yes")
    with pytest.raises(InvalidInput, match="nobody answered"):
        loopwright("delete", f"run:{run_id}", "--reason", "wrong code")
    assert "is deleted" in loopwright("delete", f"run:{run_id}", "--reason", "wrong code", "--yes")
    with pytest.raises(NotFound, match="by person:editor: wrong code"):
        loopwright("call", "tracking.get_run", f"run_id={run_id}")
    assert "is deleted" in loopwright("delete", f"run:{run_id}", "--reason", "again", "--yes")
    with pytest.raises(PermissionDenied, match="may not delete a model"):
        loopwright("delete", "model:late", "--reason", "old", "--yes")


def test_the_only_project_is_meant_where_none_is_named_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    at_us = 1_700_000_000_000_000
    own = Project("flights-backtest-3", "ana", "low", "replay", 0, created_at=at_us)
    scratch = Project(f"flights-backtest-{at_us}", "ana", "low", "replay", 0, created_at=at_us + 9)

    class Caller:
        def __init__(self, *listed: Project) -> None:
            self.listed = list(listed)

        def call(self, verb: str, _args: dict[str, Any], project: str) -> list[Project]:
            assert (verb, project) == ("projects.list", SYSTEM)
            return self.listed

    for listed, only in (([own], own), ([scratch, own], own)):
        monkeypatch.setattr("loopwright.cli.connection.find_caller", lambda listed=listed: Caller(*listed))
        assert remote(None).project == only.name
    monkeypatch.setattr("loopwright.cli.connection.find_caller", lambda: Caller(scratch))
    with pytest.raises(InvalidInput, match="no project yet"):
        remote(None)
