"""Jobs: claimed under a lease by one worker at a time, given up after too many tries."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Actor, Dispatcher
from loopwright.kernel.clock import DAY_US, SECOND_US, FixedClock
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.lanes import LANES
from loopwright.kernel.verbs import Role
from loopwright.store import jobs, sql
from loopwright.store.jobs import LEASE_US, MOST_FAILURES
from loopwright.store.types import HeldJob, Job, JobLease
from loopwright.store.work import KINDS, JobKind, Work

Claim = Callable[..., list[Any]]
KINDS_OF_TESTS = ("x.do", "x.look", "x.train")


@pytest.fixture
def call(dispatcher: Dispatcher) -> Callable[..., Any]:
    """Call as one of the platform's own processes."""
    return lambda verb, /, **args: dispatcher.call(verb, args, actor=SERVICE_ACTOR, project="flights")


@pytest.fixture
def claim(dispatcher: Dispatcher) -> Claim:
    def take(worker: str = "w1", limit: int = 1, kinds: tuple[str, ...] = KINDS_OF_TESTS, **lanes: int) -> list[Any]:
        slots = {lane: lanes.get(lane, 0) for lane in LANES} if lanes else dict.fromkeys(LANES, limit)
        args = {"worker": worker, "kinds": list(kinds), "slots": slots}
        taken: list[Any] = dispatcher.call("jobs.claim", args, actor=SERVICE_ACTOR, project=SYSTEM)
        return taken

    return take


@pytest.fixture
def renew(dispatcher: Dispatcher) -> Claim:
    def tell(worker: str, job_id: str, progress: str | None = None) -> list[JobLease]:
        args = {"worker": worker, "held": [HeldJob("flights", job_id, progress)]}
        leases: list[JobLease] = dispatcher.call("jobs.renew", args, actor=SERVICE_ACTOR, project=SYSTEM)
        return leases

    return tell


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = JobKind("x.look", Work, lane="looks", keep_days=None, retry_after_s=(2.0, 60.0))
    monkeypatch.setitem(KINDS, "x.look", looks)
    monkeypatch.setitem(KINDS, "x.train", JobKind("x.train", Work, lane="training", keep_days=2))


def start(dispatcher: Dispatcher, job_id: str, project: str = "flights", kind: str = "x.do") -> Any:
    work = lambda tx: tx.start_job(kind, f"{project}/thing:a", {"n": 1}, job_id=job_id)  # noqa: E731
    return dispatcher.write(project, LOCAL_ACTOR, work)


def ended(call: Callable[..., Any]) -> list[str]:
    """Return the types of the events that tell of jobs, oldest first."""
    return [event.type for event in reversed(call("audit.list")) if event.type.startswith("jobs.")]


def test_the_same_job_twice_is_one(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    assert start(dispatcher, "job_a") == start(dispatcher, "job_a")
    assert [job.job_id for job in call("jobs.list")] == ["job_a"]


def test_each_job_goes_to_one_worker(dispatcher: Dispatcher, claim: Claim) -> None:
    for number in range(20):
        start(dispatcher, f"job_{number:02}")
    with ThreadPoolExecutor(4) as pool:
        taken = [job.job_id for jobs in pool.map(lambda n: claim(f"w{n}", 3), range(8)) for job in jobs]
    assert len(taken) == len(set(taken)) == 20


def test_a_worker_takes_its_kinds_only_and_the_oldest_first(dispatcher: Dispatcher, claim: Claim) -> None:
    start(dispatcher, "job_b")
    start(dispatcher, "job_c")
    assert claim(kinds=("y.do",)) == []
    assert [job.job_id for job in claim()] == ["job_b"]


def test_projects_take_turns(dispatcher: Dispatcher, claim: Claim, wall: FixedClock) -> None:
    """Who queues many jobs first keeps nobody waiting; the fewer at work, the sooner."""
    for project in ("hotels", "trains"):
        dispatcher.call("projects.create", {"name": project}, actor=LOCAL_ACTOR, project=SYSTEM)
    for number in range(9):
        start(dispatcher, f"job_a{number}")
        wall.at_us += 1
    for number in range(2):
        start(dispatcher, f"job_b{number}", "trains")
        wall.at_us += 1
    start(dispatcher, "job_c0", "hotels")
    assert [job.job_id for job in claim("w1", 4)] == ["job_a0", "job_b0", "job_c0", "job_a1"]
    assert [job.job_id for job in claim("w2", 2)] == ["job_b1", "job_a2"]
    assert [job.job_id for job in claim("w3", 9)] == [f"job_a{number}" for number in range(3, 9)]


def test_a_claim_under_way_keeps_others_from_what_it_takes_alone(dispatcher: Dispatcher) -> None:
    if dispatcher.database.is_sqlite:
        pytest.skip("SQLite has one writer")
    dispatcher.call("projects.create", {"name": "trains"}, actor=LOCAL_ACTOR, project=SYSTEM)
    for number in range(4):
        start(dispatcher, f"job_{number}", ("flights", "trains")[number % 2])
    of = ("work", KINDS_OF_TESTS, dispatcher.wall.now_us(), 2)
    with dispatcher.database.engine.connect() as one, dispatcher.database.engine.connect() as other:
        assert [job.job_id for job in sql.due_jobs(one, *of)] == ["job_0", "job_1"]
        assert [job.job_id for job in sql.due_jobs(other, *of)] == ["job_2", "job_3"]


def test_jobs_that_a_worker_cannot_do_are_in_nobodys_way(dispatcher: Dispatcher, claim: Claim) -> None:
    dispatcher.call("projects.create", {"name": "trains"}, actor=LOCAL_ACTOR, project=SYSTEM)
    start(dispatcher, "job_a", "trains", kind="x.unknown")
    start(dispatcher, "job_b")
    start(dispatcher, "job_c")
    assert [job.job_id for job in claim("w1", 2)] == ["job_b", "job_c"]


def test_a_lease_that_runs_out_frees_the_job(dispatcher: Dispatcher, claim: Claim, wall: FixedClock) -> None:
    start(dispatcher, "job_a")
    assert claim("w1")[0].attempt == 1
    assert claim("w2") == []
    wall.at_us += LEASE_US + 1
    assert claim("w2")[0].attempt == 2


def test_a_lease_is_prolonged_by_its_holder_only(
    dispatcher: Dispatcher, claim: Claim, renew: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    start(dispatcher, "job_a")
    claim("w1")
    wall.at_us += LEASE_US - 1
    assert renew("w2", "job_a") == []
    assert renew("w1", "job_a", "half") == [JobLease("flights", "job_a", False)]
    assert renew("w1", "job_a")
    assert call("jobs.get", job_id="job_a").progress == "half"
    wall.at_us += LEASE_US - 1
    assert claim("w2") == []


def test_a_job_that_kills_its_workers_is_given_up(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    start(dispatcher, "job_a")
    for number in range(MOST_FAILURES):
        assert len(claim(f"w{number}")) == 1
        wall.at_us += LEASE_US + 1
    assert claim() == []
    job = call("jobs.get", job_id="job_a")
    assert (job.state, job.error["code"]) == ("failed", "worker_lost")
    assert call("audit.list", limit=1)[0].type == "jobs.failed"
    call("jobs.retry", job_id="job_a", reason="fixed")
    (again,) = claim()
    assert (again.attempt, again.failures) == (MOST_FAILURES + 1, 0)


def test_what_ends_a_job_of_a_replay_project_happens_in_its_time(
    dispatcher: Dispatcher, claim: Claim, wall: FixedClock
) -> None:
    args = {"name": "past", "clock": "replay", "clock_at": 5_000_000}
    dispatcher.call("projects.create", args, actor=LOCAL_ACTOR, project=SYSTEM)
    start(dispatcher, "job_p", "past")
    for _ in range(MOST_FAILURES + 1):
        claim()
        wall.at_us += LEASE_US + 1
    newest = dispatcher.call("audit.list", {"limit": 1}, actor=LOCAL_ACTOR, project="past")[0]
    assert (newest.type, newest.event_at) == ("jobs.failed", 5_000_000)


def test_finishing_twice_is_once_and_an_end_is_final(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any]
) -> None:
    start(dispatcher, "job_a")
    claim()
    done = call("jobs.finish", job_id="job_a", worker="w1", result={"rows": 3})
    assert call("jobs.finish", job_id="job_a", worker="w1", result={"rows": 9}) == done
    assert len([event for event in call("audit.list") if event.type == "jobs.done"]) == 1
    for verb, args in (("jobs.fail", {"worker": "w1", "error": {}}), ("jobs.retry", {})):
        with pytest.raises(Conflict):
            call(verb, job_id="job_a", **args)


@pytest.mark.parametrize(("verb", "outcome"), [("jobs.finish", {"result": {}}), ("jobs.fail", {"error": {}})])
def test_only_who_holds_a_job_ends_it(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock, verb: str, outcome: dict[str, Any]
) -> None:
    start(dispatcher, "job_a")
    with pytest.raises(Conflict):
        call(verb, job_id="job_a", worker="w1", **outcome)
    claim("w1")
    wall.at_us += LEASE_US + 1
    claim("w2")
    with pytest.raises(Conflict, match="another worker"):
        call(verb, job_id="job_a", worker="w1", **outcome)
    assert call("jobs.get", job_id="job_a").state == "running"
    assert call(verb, job_id="job_a", worker="w2", **outcome).finished_at == wall.at_us


def test_jobs_are_listed_by_state_within_the_project(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any]
) -> None:
    start(dispatcher, "job_a")
    start(dispatcher, "job_b")
    claim()
    assert [job.job_id for job in call("jobs.list", states=["queued"])] == ["job_b"]
    assert len(call("jobs.list", kind="x.do", limit=1)) == 1
    dispatcher.call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project=SYSTEM)
    with pytest.raises(NotFound):
        dispatcher.call("jobs.get", {"job_id": "job_a"}, actor=LOCAL_ACTOR, project="other")


def test_a_dismissal_answers_a_failed_job_and_a_retry_takes_it_up_again(
    dispatcher: Dispatcher, call: Callable[..., Any], claim: Claim
) -> None:
    start(dispatcher, "job_a")
    with pytest.raises(Conflict):
        call("jobs.dismiss", job_id="job_a", reason="not wanted")
    claim("w1")
    call("jobs.fail", job_id="job_a", worker="w1", error={"message": "no such file"})
    with pytest.raises(InvalidInput, match="needs a reason"):
        call("jobs.dismiss", job_id="job_a", reason=" ")
    assert call("jobs.dismiss", job_id="job_a", reason="not wanted").state == "dismissed"
    assert claim("w1") == []
    assert call("jobs.retry", job_id="job_a").state == "queued"


def test_a_later_job_answers_for_an_earlier_one_unless_each_does_its_own(
    dispatcher: Dispatcher, call: Callable[..., Any], claim: Claim, wall: FixedClock
) -> None:
    def unanswered(*lasting: str) -> list[str]:
        found = dispatcher.read("flights", LOCAL_ACTOR, lambda tx: jobs.unanswered(tx, lasting))
        return [job.job_id for job in found]

    for job_id in ("job_a", "job_b"):
        wall.at_us += 1
        start(dispatcher, job_id)
        claim("w1")
        call("jobs.fail", job_id=job_id, worker="w1", error={"message": "no such file"})
    assert unanswered() == ["job_b"]
    assert unanswered("x.do") == ["job_b", "job_a"]
    wall.at_us += 1
    start(dispatcher, "job_c")
    assert unanswered() == []
    assert unanswered("x.do") == ["job_b", "job_a"]


def ids(claimed: list[Job]) -> list[str]:
    return [job.job_id for job in claimed]


def test_a_look_waits_behind_no_training(dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any]) -> None:
    for number in range(4):
        start(dispatcher, f"job_train{number}", kind="x.train")
    start(dispatcher, "job_look", kind="x.look")
    assert ids(claim(looks=1, work=1, training=2)) == ["job_look", "job_train0", "job_train1"]
    assert claim(looks=1, work=1, training=2) == []
    call("jobs.finish", job_id="job_train0", worker="w1")
    assert ids(claim(looks=1, work=1, training=2)) == ["job_train2"]
    assert ids(claim("w2", training=0, work=9)) == []


def test_a_part_that_was_not_there_is_waited_for_in_the_queue(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    start(dispatcher, "job_a", kind="x.look")
    error = {"code": "unavailable", "message": "the gateway did not seal"}
    for after_s in (2, 60):
        claim()
        waits = call("jobs.fail", job_id="job_a", worker="w1", error=error, may_retry=True)
        assert (waits.state, waits.due_at - wall.at_us, waits.error) == ("queued", after_s * SECOND_US, None)
        assert waits.progress == "is tried again: the gateway did not seal"
        wall.at_us = waits.due_at - 1
        assert claim("w2") == []
        wall.at_us += 1
    claim()
    assert call("jobs.fail", job_id="job_a", worker="w1", error=error, may_retry=True).state == "failed"
    assert ended(call) == ["jobs.failed"]


def test_a_worker_that_stops_hands_back_and_burns_nothing(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    start(dispatcher, "job_a")
    start(dispatcher, "job_b")
    for number in range(2 * MOST_FAILURES):
        assert ids(claim(f"w{number}")) == ["job_a"], "it keeps its place in the queue"
        assert call("jobs.hand_back", job_id="job_a", worker=f"w{number}").state == "queued"
    with pytest.raises(Conflict):
        call("jobs.hand_back", job_id="job_a", worker="w0")
    claim("w")
    call("jobs.hand_back", job_id="job_a", worker="w", after_s=5.0)
    assert ids(claim("w")) == ["job_b"]
    wall.at_us += 5 * SECOND_US
    assert ids(claim("other")) == ["job_a"]


def test_the_jobs_of_a_worker_known_to_be_dead_are_free_at_once(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any]
) -> None:
    start(dispatcher, "job_a")
    claim("w1")
    ended = {
        worker: dispatcher.call("jobs.let_go", {"worker": worker}, actor=SERVICE_ACTOR, project=SYSTEM)
        for worker in ("w2", "w1")
    }
    assert ended == {"w2": 0, "w1": 1}
    (taken,) = claim("w2")
    assert (taken.attempt, taken.failures) == (2, 1)


def test_what_a_worker_goes_on_with_is_not_handed_out_when_its_lease_ran_out(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    start(dispatcher, "job_a")
    claim("w1")
    wall.at_us += LEASE_US + 1  # while no server was up
    args = {"worker": "w1", "kinds": ["x.do"], "holding": [HeldJob("flights", "job_a")]}
    assert dispatcher.call("jobs.claim", args, actor=SERVICE_ACTOR, project=SYSTEM) == []
    job = call("jobs.get", job_id="job_a")
    assert (job.attempt, job.lease_until) == (1, wall.at_us + LEASE_US)


def test_what_waits_is_cancelled_at_once(dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any]) -> None:
    start(dispatcher, "job_a")
    cancelled = call("jobs.cancel", job_id="job_a", reason="the wrong file")
    assert (cancelled.state, cancelled.error["message"]) == ("cancelled", "the job was cancelled: the wrong file")
    assert call("jobs.cancel", job_id="job_a") == cancelled
    assert claim() == []
    assert ended(call) == ["jobs.cancelled"]
    assert call("jobs.retry", job_id="job_a").state == "queued"
    assert claim()


def test_what_rules_rest_on_an_approver_cancels(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]
) -> None:
    """Else an editor who may not loosen a monitor has no window of it measured."""
    monkeypatch.setitem(KINDS, "x.duty", JobKind("x.duty", Work, is_duty=True))
    start(dispatcher, "job_a", kind="x.duty")
    ed, ana = (Actor(f"person:{role.value}", {"flights": role}) for role in (Role.EDITOR, Role.APPROVER))
    with pytest.raises(PermissionDenied, match=r"may not cancel x\.duty"):
        dispatcher.call("jobs.cancel", {"job_id": "job_a"}, actor=ed, project="flights")
    assert call("jobs.get", job_id="job_a").state == "queued"
    assert dispatcher.call("jobs.cancel", {"job_id": "job_a"}, actor=ana, project="flights").state == "cancelled"


def test_what_is_under_way_is_cancelled_by_its_worker(
    dispatcher: Dispatcher, claim: Claim, renew: Claim, call: Callable[..., Any]
) -> None:
    start(dispatcher, "job_a")
    claim()
    assert call("jobs.cancel", job_id="job_a", reason="enough").state == "running"
    assert renew("w1", "job_a") == [JobLease("flights", "job_a", True)]
    ended_so = call("jobs.hand_back", job_id="job_a", worker="w1")
    assert (ended_so.state, ended_so.error["code"]) == ("cancelled", "cancelled")
    assert ended(call) == ["jobs.cancel_asked", "jobs.cancelled"]
    with pytest.raises(Conflict):
        call("jobs.finish", job_id="job_a", worker="w1")


def test_a_failed_job_is_dismissed_and_not_cancelled(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any]
) -> None:
    start(dispatcher, "job_a")
    claim()
    call("jobs.fail", job_id="job_a", worker="w1", error={"message": "no"})
    with pytest.raises(Conflict, match=r"has failed.*loopwright call jobs\.dismiss job_id=job_a"):
        call("jobs.cancel", job_id="job_a")
    assert call("jobs.dismiss", job_id="job_a", reason="not wanted").state == "dismissed"


def test_a_cancelled_job_whose_worker_dies_ends_without_another(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    start(dispatcher, "job_a")
    claim()
    call("jobs.cancel", job_id="job_a")
    wall.at_us += LEASE_US + 1
    assert claim("w2") == []
    assert call("jobs.get", job_id="job_a").state == "cancelled"


def test_ended_jobs_are_dropped_when_their_kind_says_and_their_events_stay(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    for job_id, kind in (("job_a", "x.do"), ("job_b", "x.train"), ("job_c", "x.look")):
        start(dispatcher, job_id, kind=kind)
    start(dispatcher, "job_d")
    claim()
    for job_id in ("job_a", "job_b", "job_c"):
        call("jobs.finish", job_id=job_id, worker="w1")

    def drop() -> int:
        return dispatcher.database.write(lambda connection: sql.delete_expired_jobs(connection, wall.at_us, 1))

    assert drop() == 0
    wall.at_us += 3 * DAY_US
    assert (drop(), drop()) == (1, 0)
    wall.at_us += 30 * DAY_US
    assert (drop(), drop()) == (1, 0)
    assert ids(call("jobs.list")) == ["job_d", "job_c"]
    assert ended(call) == ["jobs.done"] * 3


def test_a_listing_is_the_newest_whatever_it_asks_for(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    for number in range(6):
        wall.at_us += 1
        start(dispatcher, f"job_{number}", kind=("x.do", "x.train")[number % 2])
    claim(work=1, training=1)
    call("jobs.finish", job_id="job_0", worker="w1")
    assert ids(call("jobs.list", limit=4)) == ["job_5", "job_4", "job_3", "job_2"]
    assert ids(call("jobs.list", states=["done", "queued"])) == ["job_5", "job_4", "job_3", "job_2", "job_0"]
    assert ids(call("jobs.list", kind="x.do", limit=2)) == ["job_4", "job_2"]
    assert ids(call("jobs.list", kind="x.train", states=["running", "done"])) == ["job_1"]


def test_a_look_says_what_a_claim_would_find_and_when_the_next_is_due(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    def look(worker: str = "w1", **slots: int) -> tuple[bool, int | None]:
        with dispatcher.database.reading() as connection:
            found = sql.look_for_jobs(connection, worker, KINDS_OF_TESTS, slots or {"work": 1}, wall.at_us)
            return found.is_there, found.next_at

    assert look() == (False, None)
    start(dispatcher, "job_a")
    assert look()[0]
    assert not look(training=5)[0]
    claim()
    start(dispatcher, "job_b")
    assert not look()[0], "every slot is taken"
    assert look("w2")[0]
    call("jobs.hand_back", job_id="job_a", worker="w1", after_s=7.0)
    claim()
    assert look("w2") == (False, wall.at_us + 7 * SECOND_US)
    wall.at_us += LEASE_US + 1
    assert look("w2")[0], "a lease ran out"
    assert not look("w2", training=5)[0], "and no slot is free in its lane"
    assert look("w1", training=5)[0], "but whose job it is goes on with it"
