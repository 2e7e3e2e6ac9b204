"""The end of a project: everything in it stops, its rows go, its events and its name stay."""

from pathlib import Path

import pytest

from loopwright.features import online
from loopwright.governance import LOCAL_ACTOR, SYSTEM, audit
from loopwright.kernel.errors import Conflict, InvalidInput
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
        online.open_project_store(tmp_path, project).close()
    worker = InProcessWorker(dispatcher, serving.blobs, tmp_path, serving.wall)
    worker.run()
    assert online.stored_projects(tmp_path) == {"other"}
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
