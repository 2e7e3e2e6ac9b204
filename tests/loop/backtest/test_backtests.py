"""Backtests on record: what is played, who may play it, how it ends, and what of its project stays."""

from typing import Any

import msgspec
import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Actor
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.lanes import LANES
from loopwright.kernel.verbs import Role
from loopwright.loop import Backtest, ClosingTable, Scope, is_scratch
from loopwright.loop import sql as loop_sql
from loopwright.store import forgetting, sql
from loopwright.store.types import Bounds, Job
from tests.loop.conftest import PROJECT, Importer, Loop

STRETCH = {"deployment": "late", "start_at": "2013-03-01T00:00Z", "end_at": "2013-03-02T00:00Z"}
CLOSING = ClosingTable(Scope("late", 0, 1, "binary", "roc_auc", [], {}), {"months": []})


class Desk:
    """Somebody who starts backtests, and the worker that plays them."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop

    def start(self, **args: Any) -> Backtest:
        backtest: Backtest = self.loop("loop.start_backtest", **STRETCH, **args)
        return backtest

    def claim(self, worker: str = "w") -> Job:
        claim = {"worker": worker, "kinds": ["loop.backtest"], "slots": dict.fromkeys(LANES, 9)}
        [job] = self.loop.dispatcher.call("jobs.claim", claim, actor=SERVICE_ACTOR, project=SYSTEM)
        return job  # type: ignore[no-any-return]

    def begin(self, backtest: Backtest, token: str = "a") -> Backtest:
        begun: Backtest = self.loop.service(
            "loop.begin_backtest", backtest_id=backtest.backtest_id, token_digest=token * 64
        )
        return begun

    def seen(self, backtest: Backtest) -> Backtest:
        record: Backtest = self.loop("loop.get_backtest", backtest_id=backtest.backtest_id)
        return record

    def end(self, verb: str, job: Job, **outcome: Any) -> None:
        self.loop.service(verb, job_id=job.job_id, worker="w", **outcome)
        self.loop.reactor.drain()

    def projects(self) -> list[str]:
        listed = self.loop.dispatcher.call("projects.list", {}, actor=LOCAL_ACTOR, project=SYSTEM)
        return [project.name for project in listed]

    def borrowers(self) -> set[str]:
        live = self.loop.dispatcher.call("tokens.live", {}, actor=SERVICE_ACTOR, project=SYSTEM)
        return {token.project for token in live.values()}

    def events(self) -> list[tuple[str, str]]:
        events = reversed(self.loop("audit.list", type_prefix="loop.backtest"))
        return [(event.type.removeprefix("loop.backtest_"), event.payload.get("state", "")) for event in events]


@pytest.fixture
def desk(loop: Loop, importer: Importer) -> Desk:
    importer.load()
    return Desk(loop)


def test_a_backtest_says_what_it_plays_and_its_job_waits_in_a_lane_of_its_own(desk: Desk) -> None:
    backtest = desk.start(reason="before we turn it on")
    assert (backtest.state, backtest.versions, backtest.started_by) == ("running", {"flights": 1}, "person:local")
    job = desk.loop("jobs.get", job_id=backtest.job_id)
    assert (job.lane, job.ref) == ("backtests", f"flights/backtest:{backtest.backtest_id}")
    played_rows = {edge.parent for edge in desk.loop("lineage.upstream", ref=job.ref) if edge.child == job.ref}
    assert played_rows == {"flights/dataset:flights/1"}
    played = desk.loop("loop.backtest_spec", backtest_id=backtest.backtest_id)
    assert (played.datasets[0].source.kind, played.deployments[0].approve.first) == ("push", "policy")
    assert desk.loop("loop.backtests", deployment="late") == [backtest]
    assert desk.loop("loop.backtests", deployment="early") == []


def test_a_project_is_at_rest_while_its_backtest_runs(desk: Desk) -> None:
    def has_jobs() -> bool:
        return desk.loop.dispatcher.database.read(lambda connection: sql.read_unrest(connection, "flights")).has_jobs

    for job in desk.loop("jobs.list", states=["queued"]):
        desk.loop("jobs.cancel", job_id=job.job_id)
    desk.start()
    desk.claim()
    assert not has_jobs()
    desk.loop("loop.start_export", deployment="late", start_at=0, end_at=1)
    assert has_jobs()


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"deployment": "early"}, NotFound, "no deployment is named early; .*declared: late"),
        ({"end_at": STRETCH["start_at"]}, InvalidInput, "the stretch is empty"),
        ({"zone": "New York"}, InvalidInput, "no such time zone"),
        ({"policy": msgspec.structs.replace(PROJECT, trains=[], retrains=[])}, InvalidInput, "no training makes"),
        ({"policy": msgspec.structs.replace(PROJECT, datasets=[])}, InvalidInput, "no dataset named flights"),
    ],
)
def test_what_cannot_be_played_is_refused_at_once(
    desk: Desk, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        desk.loop("loop.start_backtest", **{**STRETCH, **changes})
    assert desk.loop("loop.backtests") == []
    assert desk.loop("jobs.list", kind="loop.backtest") == []


def test_a_policy_over_a_dataset_that_is_not_here_is_refused(desk: Desk) -> None:
    more = msgspec.structs.replace(PROJECT.datasets[0], name="weather")
    with pytest.raises(NotFound, match="weather"):
        desk.start(policy=msgspec.structs.replace(PROJECT, datasets=[*PROJECT.datasets, more]))


def test_a_played_backtest_keeps_its_table_and_its_project_goes(desk: Desk) -> None:
    backtest = desk.start()
    job = desk.claim()
    begun = desk.begin(backtest)
    assert desk.begin(backtest) == begun  # asked again, for the answer was lost
    assert begun.scratch is not None
    assert (sorted(desk.projects()), desk.borrowers()) == (["flights", begun.scratch], {begun.scratch})
    project = desk.loop.dispatcher.call("projects.get", {"name": begun.scratch}, actor=LOCAL_ACTOR, project=SYSTEM)
    assert (project.clock, project.clock_at) == ("replay", backtest.start_at)
    assert is_scratch(project)
    for _ in range(2):
        desk.loop.service("loop.finish_backtest", backtest_id=backtest.backtest_id, closing=CLOSING)
    desk.end("jobs.finish", job)
    ended = desk.seen(backtest)
    assert (ended.state, ended.closing, ended.scratch) == ("done", CLOSING, None)
    assert ended.finished_at == desk.loop.wall.at_us
    assert (desk.projects(), desk.borrowers()) == (["flights"], set())
    assert desk.events() == [("started", ""), ("begun", ""), ("finished", "done")]
    left = desk.loop.dispatcher.call("jobs.list", {}, actor=LOCAL_ACTOR, project=begun.scratch)
    assert [job.kind for job in left] == ["loop.forget_project"]


def test_a_project_that_is_to_be_kept_stays_and_is_nobodys_to_change(desk: Desk) -> None:
    backtest = desk.start(keep_project=True)
    job = desk.claim()
    scratch = desk.begin(backtest).scratch
    desk.end("jobs.fail", job, error={"code": "step_failed", "message": "the first training failed"})
    ended = desk.seen(backtest)
    assert (ended.state, ended.scratch) == ("failed", scratch)
    assert ended.error is not None
    assert ended.error["message"] == "the first training failed"
    assert (len(desk.projects()), desk.borrowers()) == (2, set())
    assert desk.loop.needs_person() == []  # the backtest says that it failed, to whoever waits for it


def test_a_backtest_that_was_deleted_still_names_the_project_that_it_kept(desk: Desk) -> None:
    backtest = desk.start(keep_project=True)
    job = desk.claim()
    scratch = desk.begin(backtest).scratch
    desk.end("jobs.fail", job, error={"code": "step_failed", "message": "the first training failed"})
    left = desk.loop("deletion.delete", ref=f"backtest:{backtest.backtest_id}", reason="it was read")
    assert left.facts["scratch"] == scratch
    assert scratch in desk.projects()


def test_one_that_was_cancelled_before_or_while_it_is_played_leaves_nothing(desk: Desk) -> None:
    waits = desk.start()
    desk.loop("jobs.cancel", job_id=waits.job_id, reason="not wanted")
    runs = desk.start()
    job = desk.claim()
    desk.begin(runs)
    desk.loop("jobs.cancel", job_id=runs.job_id, reason="not wanted either")
    assert desk.seen(runs).state == "running"  # until its worker hears of it
    desk.end("jobs.hand_back", job)
    for backtest in (waits, runs):
        assert desk.seen(backtest).state == "cancelled"
    assert (desk.projects(), desk.borrowers()) == (["flights"], set())


def test_what_a_killed_worker_began_is_ended_by_the_attempt_that_starts_over(desk: Desk) -> None:
    backtest = desk.start(keep_project=True)
    desk.claim("killed")
    first = desk.begin(backtest, "a")
    desk.loop.wall.at_us += 60_000_000
    desk.claim()
    second = desk.begin(backtest, "b")
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.scratch != second.scratch
    assert (sorted(desk.projects()), desk.borrowers()) == (["flights", second.scratch], {second.scratch})
    assert desk.events() == [("started", ""), ("begun", ""), ("begun", "")]


def test_one_that_is_tried_again_runs_again(desk: Desk) -> None:
    backtest = desk.start()
    desk.end("jobs.fail", desk.claim(), error={"code": "internal", "message": "no"})
    assert desk.seen(backtest).state == "failed"
    desk.loop("jobs.retry", job_id=backtest.job_id, reason="mended")
    again = desk.seen(backtest)
    assert (again.state, again.error, again.finished_at) == ("running", None, None)
    job = desk.claim()
    assert desk.begin(again).attempt == job.attempt == 2
    desk.end("jobs.finish", job)
    assert desk.seen(backtest).state == "done"


def test_only_the_job_of_a_backtest_plays_it(desk: Desk) -> None:
    mine, other = desk.start(), desk.start()
    args = {"backtest_id": mine.backtest_id, "token_digest": "a" * 64}

    def begin(job_id: str, kind: str) -> None:
        actor = Actor("service:loopwright", {"flights": Role.SERVICE}, Bounds("job", job_id=job_id, job_kind=kind))
        desk.loop.dispatcher.call("loop.begin_backtest", args, actor=actor, project="flights")

    with pytest.raises(PermissionDenied, match="another job plays"):
        begin(other.job_id, "loop.backtest")
    with pytest.raises(PermissionDenied, match="only who holds a job"):
        begin(mine.job_id, "loop.export")
    begin(mine.job_id, "loop.backtest")


def test_the_project_of_a_closed_one_goes_too(desk: Desk) -> None:
    backtest = desk.start()
    job = desk.claim()
    scratch = desk.begin(backtest).scratch
    desk.loop("loop.close_project", reason="the desk moved on")
    desk.end("jobs.hand_back", job)
    assert desk.seen(backtest).state == "cancelled"
    assert scratch not in desk.projects()


def test_rows_that_are_played_are_not_deleted_meanwhile(desk: Desk, importer: Importer) -> None:
    backtest = desk.start()
    importer.load("replace")
    importer.load("replace")
    ref = "dataset:flights/1"

    def holds() -> list[str]:
        return [hold.by for hold in desk.loop("deletion.plan", ref=ref).holds]

    assert f"flights/backtest:{backtest.backtest_id}" in holds()
    desk.loop("jobs.cancel", job_id=backtest.job_id)
    assert f"flights/backtest:{backtest.backtest_id}" not in holds()


def test_a_project_that_is_deleted_takes_its_backtests_and_their_projects_along(desk: Desk, importer: Importer) -> None:
    for token in "ab":
        desk.loop.wall.at_us += 60_000_000
        kept = desk.start(keep_project=True)
        job = desk.claim()
        desk.begin(kept, token)
        desk.end("jobs.fail", job, error={"code": "step_failed", "message": "no"})
    desk.loop("deletion.delete", ref=f"backtest:{kept.backtest_id}", reason="it was read")
    desk.loop.wall.at_us += 60_000_000
    runs = desk.start()
    desk.claim()
    desk.begin(runs, "c")
    assert len(desk.projects()) == 4
    desk.loop("loop.delete_project", name="flights", reason="done with it")
    assert (desk.projects(), desk.borrowers()) == ([], set())
    assert desk.events()[-1] == ("finished", "cancelled")
    with pytest.raises(Conflict, match="was closed"):
        desk.begin(runs, "d")  # nor is another made by whoever still plays
    # Its worker was killed; the rows go before anybody answers that the job is over.
    desk.loop.wall.at_us += 600_000_000
    claim = {"worker": "next", "kinds": ["loop.backtest"], "slots": dict.fromkeys(LANES, 9)}
    assert desk.loop.dispatcher.call("jobs.claim", claim, actor=SERVICE_ACTOR, project=SYSTEM) == []
    importer.run()
    desk.loop.reactor.drain()
    for project in ("flights", *(event.payload["scratch"] for event in begun(desk))):
        assert desk.loop.dispatcher.read(project, LOCAL_ACTOR, forgetting.count_rows) == {}
    waiting = desk.loop.dispatcher.database.read(lambda connection: loop_sql.waiting_reactions(connection, 2**62))
    assert waiting == []


def begun(desk: Desk) -> list[Any]:
    """Return the events of backtests that began."""
    events: list[Any] = desk.loop("audit.list", type_prefix="loop.backtest_begun")
    return events
