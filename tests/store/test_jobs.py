"""Jobs: claimed under a lease by one worker at a time, given up after too many tries."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from loopwright.store import jobs
from loopwright.store.jobs import LEASE_US, MOST_ATTEMPTS

Claim = Callable[..., list[Any]]


@pytest.fixture
def call(dispatcher: Dispatcher) -> Callable[..., Any]:
    """Call as one of the platform's own processes."""
    return lambda verb, /, **args: dispatcher.call(verb, args, actor=SERVICE_ACTOR, project="flights")


@pytest.fixture
def claim(dispatcher: Dispatcher) -> Claim:
    def take(worker: str = "w1", limit: int = 1, kinds: tuple[str, ...] = ("x.do",)) -> list[Any]:
        args = {"worker": worker, "kinds": list(kinds), "limit": limit}
        taken: list[Any] = dispatcher.call("jobs.claim", args, actor=SERVICE_ACTOR, project=SYSTEM)
        return taken

    return take


def start(dispatcher: Dispatcher, job_id: str, project: str = "flights") -> Any:
    work = lambda tx: tx.start_job("x.do", f"{project}/thing:a", {"n": 1}, job_id=job_id)  # noqa: E731
    return dispatcher.write(project, LOCAL_ACTOR, work)


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


def test_a_lease_that_runs_out_frees_the_job(dispatcher: Dispatcher, claim: Claim, wall: FixedClock) -> None:
    start(dispatcher, "job_a")
    assert claim("w1")[0].attempt == 1
    assert claim("w2") == []
    wall.at_us += LEASE_US + 1
    assert claim("w2")[0].attempt == 2


def test_a_lease_is_prolonged_by_its_holder_only(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    start(dispatcher, "job_a")
    claim("w1")
    wall.at_us += LEASE_US - 1
    assert call("jobs.renew", job_ids=["job_a"], worker="w2") == []
    assert call("jobs.renew", job_ids=["job_a"], worker="w1", progress="half") == ["job_a"]
    assert call("jobs.get", job_id="job_a").progress == "half"
    wall.at_us += LEASE_US - 1
    assert claim("w2") == []


def test_a_job_that_kills_its_workers_is_given_up(
    dispatcher: Dispatcher, claim: Claim, call: Callable[..., Any], wall: FixedClock
) -> None:
    start(dispatcher, "job_a")
    for _ in range(MOST_ATTEMPTS):
        assert len(claim()) == 1
        wall.at_us += LEASE_US + 1
    assert claim() == []
    job = call("jobs.get", job_id="job_a")
    assert (job.state, job.error["code"]) == ("failed", "worker_lost")
    assert call("audit.list", limit=1)[0].type == "jobs.failed"
    call("jobs.retry", job_id="job_a", reason="fixed")
    assert claim()[0].attempt == 1


def test_what_ends_a_job_of_a_replay_project_happens_in_its_time(
    dispatcher: Dispatcher, claim: Claim, wall: FixedClock
) -> None:
    args = {"name": "past", "clock": "replay", "clock_at": 5_000_000}
    dispatcher.call("projects.create", args, actor=LOCAL_ACTOR, project=SYSTEM)
    start(dispatcher, "job_p", "past")
    for _ in range(MOST_ATTEMPTS + 1):
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
