"""The end of a project: everything in it stops, its rows go, its events and its name stay."""

from pathlib import Path

import pytest

from loopwright.features import online
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, audit
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError
from loopwright.kernel.verbs import VERBS
from loopwright.loop import OperationContext
from loopwright.loop.engine.clock_advance import advance
from loopwright.serving import sql as serving_sql
from loopwright.store import forgetting, sql
from tests.inprocess import InProcessWorker
from tests.loop.conftest import Loop


def test_a_closed_project_serves_and_changes_nothing_and_can_still_be_read(serving: Loop) -> None:
    serving.train()
    retrain = serving.retrain()
    with pytest.raises(InvalidInput, match="needs a reason"):
        serving("loop.close_project", reason=" ")
    assert serving("loop.belongings").serving == ["late"]
    closed = serving("loop.close_project", reason="the desk moved on")
    assert closed.closed_at == serving.wall.at_us
    assert serving("serving.status", deployment="late").retired is not None
    assert serving.rollout().state == "aborted"
    assert serving("pipelines.get", execution_id=retrain.execution_id).state == "cancelled"
    assert serving("jobs.list", states=["queued"]) == []
    assert serving.dispatcher.database.read(lambda connection: sql.due_timers(connection, "flights", 2**62)) == []
    for verb, args in (
        ("tracking.start_run", {"experiment": "x"}),
        ("loop.deploy", {"deployment": "late", "version": 1}),
        ("projects.create", {"name": "flights", "clock": "wall"}),
    ):
        with pytest.raises(Conflict, match="project flights was closed at"):
            serving(verb, **args)
    assert serving("registry.versions", model="late")
    assert serving("loop.close_project", reason="again").closed_at == closed.closed_at
    assert [event.reason for event in serving("audit.list", type_prefix="projects.closed")] == ["the desk moved on"]
    listed = serving.dispatcher.call("projects.list", {}, actor=LOCAL_ACTOR, project=SYSTEM)
    assert listed == []


def test_a_deleted_project_leaves_its_events_and_no_rows_and_others_keep_theirs(serving: Loop, tmp_path: Path) -> None:
    dispatcher = serving.dispatcher
    other = {"name": "other", "owner": "o"}
    dispatcher.call("projects.create", other, actor=LOCAL_ACTOR, project=SYSTEM)
    dispatcher.call("tracking.start_run", {"experiment": "x"}, actor=LOCAL_ACTOR, project="other")
    with pytest.raises(InvalidInput, match="not the project's name"):
        serving("loop.delete_project", name="flight", reason="done")
    rows = serving("loop.belongings").rows
    assert rows["model_versions"] == 1
    serving("loop.delete_project", name="flights", reason="done with it")
    for project in ("flights", "other"):
        online.OnlineStores(tmp_path).open(project).close()
    worker = InProcessWorker(dispatcher, serving.blobs, tmp_path, serving.wall)
    worker.run()
    assert online.OnlineStores(tmp_path).projects() == {"other"}
    [job] = serving("jobs.list", kind="loop.forget_project")
    assert job.state == "done"
    assert job.result["rows"] >= sum(rows.values()) - rows.get("timers", 0)
    assert dispatcher.read("flights", LOCAL_ACTOR, forgetting.count_rows) == {}
    assert serving("audit.list", type_prefix="projects.deleted")[0].reason == "done with it"
    assert dispatcher.database.read(audit.verify_chain) > 0
    assert dispatcher.read("other", LOCAL_ACTOR, forgetting.count_rows)["runs"] == 1
    with pytest.raises(Conflict, match="was closed"):
        dispatcher.call("projects.create", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM)


def test_rows_go_bit_by_bit(serving: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Conflict, match="is not deleted"):
        serving.service("projects.forget_rows")
    serving("loop.delete_project", name="flights", reason="done with it")
    monkeypatch.setattr(forgetting, "ROWS_AT_ONCE", 1)
    steps = []
    while removed := serving.service("projects.forget_rows"):
        steps.append(removed)
    assert set(steps) == {1}
    assert serving.dispatcher.call("projects.get", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM).deleted_at


def test_releases_that_went_with_their_project_leave_no_position_to_others(serving: Loop, tmp_path: Path) -> None:
    deploy = {"deployment": "late", "version": serving.register(), "reason": "the next one"}
    serving("loop.deploy", **deploy, force_reason="no gate judged it")
    last = serving("serving.status", deployment="late").release.position
    serving("loop.delete_project", name="flights", reason="done with it")
    InProcessWorker(serving.dispatcher, serving.blobs, tmp_path, serving.wall).run()
    assert serving.dispatcher.read("flights", LOCAL_ACTOR, forgetting.count_rows) == {}
    fresh = serving.dispatcher.database.write(serving_sql.next_position)
    assert fresh > last + 1  # the retirement of the endpoint took one too


LASTS = {
    **dict.fromkeys(["loop.close_project", "loop.delete_project", "projects.close", "projects.delete"], "deleted"),
    **dict.fromkeys(["projects.forget_rows", "jobs.finish", "jobs.fail", "jobs.hand_back"], "deleted"),
    **dict.fromkeys(["chunks.register", "serving.report_failure", "access.note_refused"], "closed"),
    **dict.fromkeys(["retention.apply", "deletion.forget_rows"], "closed"),
}
"""What changes anything in a project that is not open; a verb that joins here does so by a decision."""


def test_nothing_is_changed_in_an_ended_project_but_what_ends_it(loop: Loop) -> None:
    dispatcher = loop.dispatcher

    def refused(project: str) -> set[str]:
        """Return the verbs that are refused; others get an argument that none of them has."""
        found = set()
        for verb in changing:
            with pytest.raises((TypeError, LoopwrightError)) as raised:
                dispatcher.database.write(dispatcher.work(verb, {"nothing": None}, SERVICE_ACTOR, project))
            if not isinstance(raised.value, TypeError):
                assert str(raised.value).startswith(f"project {project} was ")
                found.add(verb.name)
        return found

    changing = [each for each in VERBS.values() if not (each.is_query or each.is_operation or each.is_above_projects)]
    assert {each.name: each.lasts for each in changing if each.lasts != "open"} == LASTS
    for name in ("closed", "deleted"):
        dispatcher.call("projects.create", {"name": name}, actor=LOCAL_ACTOR, project=SYSTEM)
        dispatcher.call("loop.close_project", {"reason": "done"}, actor=LOCAL_ACTOR, project=name)
    assert refused("closed") == {each.name for each in changing if each.lasts == "open"}
    dispatcher.call("loop.delete_project", {"name": "deleted", "reason": "done"}, actor=LOCAL_ACTOR, project="deleted")
    assert refused("deleted") == {each.name for each in changing if each.lasts != "deleted"}


def test_what_was_deleted_before_its_project_was_closed_goes_all_the_same(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.loop.housekeeping.deletion.ROWS_AT_ONCE", 1)
    run = loop("tracking.start_run", experiment="x", params={"rate": 0.1, "depth": 3})
    loop("tracking.finish_run", run_id=run.run_id, state="killed")
    loop("deletion.delete", ref=f"run:{run.run_id}", reason="wrong code")
    assert loop.dispatcher.read("flights", LOCAL_ACTOR, forgetting.count_rows)["run_params"] == 1
    loop("loop.close_project", reason="the desk moved on")
    InProcessWorker(loop.dispatcher, loop.blobs, tmp_path, loop.wall).run()
    assert "run_params" not in loop.dispatcher.read("flights", LOCAL_ACTOR, forgetting.count_rows)


def test_the_clock_of_a_closed_project_stands(loop: Loop) -> None:
    def call(verb: str, project: str, **args: object) -> object:
        return loop.dispatcher.call(verb, args, actor=LOCAL_ACTOR, project=project)

    call("projects.create", SYSTEM, name="old", clock="replay", clock_at="2012-01-01")
    call("loop.close_project", "old", reason="done")
    context = OperationContext(loop.dispatcher, loop.blobs, loop.reactor, lambda seen, _: seen, "", "old", LOCAL_ACTOR)
    with pytest.raises(Conflict, match="was closed"):
        advance(context, to="2012-02-01")
