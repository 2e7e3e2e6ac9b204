"""A worker claims jobs, runs pipelines, and loses nothing when it or the server is killed."""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.governance import LOCAL_ACTOR
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.kernel.lanes import LANES
from loopwright.store import jobs
from loopwright.store.work import JOBS, KINDS, JobKind, NotYet, Work
from loopwright.worker import Worker
from loopwright.worker.context import make_context
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.conftest import CODE, Site

pytestmark = pytest.mark.slow
ROWS: dict[str, Any] = {"rows": {"step": "load"}}


def states(execution: Any) -> dict[str, str]:
    return {run.step: run.state for run in execution.steps}


def is_pending(pid: int, number: int) -> bool:
    """Say whether a process has yet to be told of a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd"))
    return bool(int(pending, 16) >> (number - 1) & 1)


def test_independent_steps_run_side_by_side_and_a_second_execution_comes_from_the_cache(site: Site) -> None:
    steps = [
        site.step("load", inputs={"rows": {"param": "rows"}}),
        site.step("left", inputs=ROWS),
        site.step("right", inputs=ROWS),
        site.step("join", inputs={"left": {"step": "left"}, "right": {"step": "right"}}),
    ]
    site.start_worker()
    ended = site.wait(site.begin(*steps, rows=3))
    assert (ended.state, ended.steps[3].output) == ("done", 3)
    done = site.done  # left and right wait for each other: one after the other they would never end
    again = site.wait(site.begin(*steps, rows=3))
    assert [run.is_from_cache for run in again.steps] == [True] * 4
    assert again.steps[3].output == 3
    assert site.done == done
    other = site.wait(site.begin(*steps, rows=4))
    assert [run.is_from_cache for run in other.steps] == [False, False, False, True]
    (job,) = site.call("jobs.list", states=["done"], limit=1)
    assert job.result == {"state": "done"}


def test_a_worker_without_a_job_holds_no_library_of_jobs_nor_a_web_server(site: Site) -> None:
    site.start_worker()
    site.wait_for(lambda: "is ready" in site.log)
    assert site.worker is not None
    held = Path(f"/proc/{site.worker.pid}/maps").read_text()
    assert [name for name in ("polars", "numpy", "uvloop", "httptools") if name in held] == []
    assert site.wait(site.begin(site.step("load"))).state == "done"


def test_a_killed_worker_resumes_at_the_unfinished_step(site: Site) -> None:
    site.start_worker()
    execution_id = site.begin(site.step("load"), site.step("slow", inputs=ROWS), site.step("tick", after=("slow",)))
    site.wait_for(lambda: "slow-begins" in site.done)
    site.kill_worker()
    (left := site.state / "worker" / "tmp" / "rows.arrow").write_bytes(b"rows")
    site.let_go()
    site.start_worker()
    ended = site.wait(execution_id)
    assert not left.exists()
    assert site.done == ["load", "slow-begins", "slow-begins", "slow-ends"]
    assert (ended.state, ended.steps[1].output, ended.steps[1].attempt) == ("done", 3, 2)
    site.wait_for(lambda: site.call("jobs.list")[0].state == "done")
    assert site.call("jobs.list")[0].attempt == 2


def test_a_failing_function_gives_a_readable_error_and_can_be_retried(site: Site) -> None:
    site.start_worker()
    steps = [site.step("load"), site.step("broken", inputs=ROWS), site.step("tick", after=("broken",))]
    failed = site.wait(site.begin(*steps))
    assert (failed.state, states(failed)["tick"]) == ("failed", "waiting")
    assert failed.error["message"] == "TypeError: list indices must be integers or slices, not str"
    assert failed.error["details"]["traceback"] == ['project.py, line 37, in broken: return rows["delay"]']
    assert site.blobs.get(failed.steps[1].log_digest) == b"there are 3 rows\n"
    site.call("pipelines.retry", execution_id=failed.execution_id, reason="try again")
    site.wait_for(lambda: len(site.call("jobs.list", states=["done"])) == 2)
    again = site.wait(failed.execution_id)
    assert (again.state, again.round, again.steps[0].attempt, again.steps[1].attempt) == ("failed", 2, 1, 2)
    assert site.done == ["load"]


TOLD = {
    "nul": "ValueError: bad field 'ab\\x00cd'",
    "surrogate": "OSError: no such file: caf\\udce9.csv",
    "long": "letters left out",
    "mute": "project.Mute: <a Mute that cannot be told: RuntimeError>",
}


def test_whatever_a_step_raises_is_told_and_it_runs_once(site: Site) -> None:
    """An error that was refused as no text of a database reached nobody, and the step ran again and again."""
    site.write_code(CODE.replace("class Mute", "global Mute\n        class Mute"))
    site.start_worker()
    failed = {name: site.wait(site.begin(site.step(name))) for name in TOLD}
    assert {name: execution.state for name, execution in failed.items()} == dict.fromkeys(TOLD, "failed")
    for name, words in TOLD.items():
        assert words in failed[name].error["message"]
    assert failed["long"].error["message"].endswith("xx end")
    assert sorted(site.done) == sorted(TOLD)
    site.wait_for(lambda: {job.state for job in site.call("jobs.list")} == {"done"})


def test_whatever_texts_a_step_returns_reach_the_next_one(site: Site) -> None:
    site.start_worker()
    ended = site.wait(site.begin(site.step("odd"), site.step("count", inputs={"odd": {"step": "odd"}})))
    assert (ended.state, ended.steps[1].output) == ("done", [3, 4, 300_000, True, True])


def test_a_step_is_retried_with_back_off(site: Site) -> None:
    site.start_worker()
    ended = site.wait(site.begin(site.step("flaky", retries=2)))
    assert (ended.state, ended.steps[0].output, ended.steps[0].attempt) == ("done", "at last", 3)


def test_a_step_that_takes_too_long_is_killed(site: Site) -> None:
    site.start_worker()
    # The child is warm by then: two seconds are for a note in a file.
    failed = site.wait(site.begin(site.step("tick"), site.step("hangs", after=("tick",), timeout_s=2.0)))
    assert failed.state == "failed"
    assert failed.error["message"] == "the step took longer than 2 s and was stopped"
    assert site.done == ["hangs"]


def test_a_cancelled_execution_ends_its_step(site: Site) -> None:
    site.start_worker()
    execution_id = site.begin(site.step("hangs"), site.step("tick", after=("hangs",)))
    site.wait_for(lambda: site.done == ["hangs"])
    site.call("pipelines.cancel", execution_id=execution_id, reason="enough")
    site.wait_for(lambda: site.call("jobs.list")[0].state == "done")
    assert site.call("jobs.list")[0].result == {"state": "cancelled"}


def test_an_output_skips_what_is_behind_it(site: Site) -> None:
    site.start_worker()
    steps = [site.step("nothing_new"), site.step("tick", after=("nothing_new",)), site.step("load")]
    ended = site.wait(site.begin(*steps, site.step("slow", inputs=ROWS, after=("tick",))))
    assert states(ended) == {"nothing_new": "done", "tick": "skipped", "load": "done", "slow": "skipped"}
    assert ended.state == "done"


def test_work_that_ends_while_the_server_is_down_is_reported_later(site: Site) -> None:
    site.start_worker()
    execution_id = site.begin(site.step("load"), site.step("slow", inputs=ROWS))
    site.wait_for(lambda: "slow-begins" in site.done)
    site.server.stop()
    site.let_go()
    site.wait_for(lambda: "slow-ends" in site.done)
    site.wait_for(lambda: "waits for the server" in site.log)
    site.server.start()
    ended = site.wait(execution_id)
    assert (ended.state, ended.steps[1].attempt) == ("done", 1)
    site.wait_for(lambda: site.call("jobs.list")[0].state == "done")
    assert site.log.count("waits for the server") == 1


def test_a_stop_lets_the_work_under_way_end(site: Site) -> None:
    site.start_worker()
    execution_id = site.begin(site.step("load"), site.step("slow", inputs=ROWS))
    site.wait_for(lambda: "slow-begins" in site.done)
    assert site.worker is not None
    site.worker.send_signal(signal.SIGTERM)
    site.wait_for(lambda: not is_pending(site.worker.pid, signal.SIGTERM))  # type: ignore[union-attr]
    site.let_go()
    assert site.worker.wait(PATIENCE_S) == 0
    assert site.call("pipelines.get", execution_id=execution_id).state == "done"
    assert site.call("jobs.list")[0].state == "done"


def test_a_stop_hands_back_what_does_not_end(site: Site) -> None:
    site.start_worker()
    execution_id = site.begin(site.step("load"), site.step("waits", after=("load",)))
    site.wait_for(lambda: site.done == ["load", "waits"])
    assert site.kill_worker(signal.SIGTERM) == 0
    (job,) = site.call("jobs.list")
    assert (job.state, job.failures, job.worker) == ("queued", 0, None)
    site.tally.write_text("go")
    site.start_worker()
    ended = site.wait(execution_id)
    assert (ended.state, ended.steps[1].attempt, ended.steps[1].failures) == ("done", 2, 0)


def test_the_next_worker_on_a_folder_does_not_wait_for_the_lease_of_the_dead_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.store.jobs.LEASE_US", 3600 * SECOND_US)
    site.start_worker()
    execution_id = site.begin(site.step("waits"))
    site.wait_for(lambda: site.done == ["waits"])
    site.kill_worker()
    site.tally.write_text("go")
    site.start_worker()
    assert site.wait(execution_id).state == "done"
    (job,) = site.call("jobs.list")
    assert (job.attempt, job.failures) == (2, 1)


Jobs = Callable[..., None]


@pytest.fixture
def work(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """Let a worker in this process do jobs of a kind by a function; ``work(kind, function, args, ...)`` queues them."""
    monkeypatch.setattr("loopwright.worker.process.RENEW_EVERY_S", 0.1)
    folder = site.state / "worker"
    settings = msgspec.structs.replace(site.server.context.settings, url=site.server.url)
    worker = Worker(make_context(settings, folder, {}), dict.fromkeys(LANES, 2))
    thread = threading.Thread(target=worker.run)

    def begin(kind: JobKind, function: Any, *all_args: dict[str, Any]) -> None:
        monkeypatch.setitem(KINDS, kind.name, kind)
        monkeypatch.setitem(JOBS, kind.name, function)
        for number, args in enumerate(all_args):
            queue = lambda tx, a=args, n=number: tx.start_job(kind.name, "flights/x:y", a, job_id=f"{kind.name}-{n}")  # noqa: E731
            site.server.dispatcher.write("flights", LOCAL_ACTOR, queue)
        if not thread.is_alive():
            thread.start()

    yield begin
    threading.Thread(target=worker.stop).start()
    site.server.context.stop_waiting()
    if thread.ident is not None:
        thread.join()
        wait_until(lambda: all(left.name != "renew" for left in threading.enumerate()))


class Times(Work, frozen=True):
    """How often a job finds that a part is missing."""

    times: int = 0


def states_of(site: Site) -> dict[str, str]:
    return {job.job_id: job.state for job in site.call("jobs.list")}


def test_a_job_that_finds_a_part_missing_is_done_again(site: Site, work: Jobs) -> None:
    tries: dict[str, int] = {}

    def find_it_missing(context: Any, args: Times) -> dict[str, Any]:
        tries[context.job.job_id] = tries.get(context.job.job_id, 0) + 1
        if tries[context.job.job_id] <= args.times:
            raise Unavailable("a gateway has not sealed its spool")
        return {"rows": 3}

    kind = JobKind("test.missing", Times, retry_after_s=(0.01, 0.01))
    work(kind, find_it_missing, {"times": 2}, {"times": 3})
    site.wait_for(lambda: set(states_of(site).values()) == {"done", "failed"})
    ended = {job.args["times"]: (job.state, job.attempt) for job in site.call("jobs.list")}
    assert ended == {2: ("done", 3), 3: ("failed", 3)}
    assert set(tries.values()) == {3}


def test_a_job_that_finds_the_disk_full_is_done_again(site: Site, work: Jobs) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    tries = iter([full, RuntimeError("underlying IO error: No space left on device (os error 28)")])

    def write(context: Any, args: Times) -> dict[str, Any]:
        if (error := next(tries, None)) is not None:
            raise error
        return {"rows": 3}

    work(JobKind("test.full", Times, retry_after_s=(0.01, 0.01)), write, {})
    site.wait_for(lambda: states_of(site)["test.full-0"] in ("done", "failed"))
    (job,) = site.call("jobs.list")
    assert (job.state, job.attempt) == ("done", 3)


def test_whatever_a_job_raises_or_answers_is_told(site: Site, work: Jobs) -> None:
    tries: list[int] = []

    def speak(context: Any, args: Times) -> dict[str, Any]:
        tries.append(args.times)
        context.progress("row ab\0cd of caf\udce9.csv" + "x" * 300_000)
        time.sleep(0.3)  # a sign of life says so meanwhile
        if args.times == 0:
            raise ValueError("ab\0cd caf\udce9" + "x" * 300_000)
        if args.times == 1:
            raise InvalidInput("no such row", value="ab\0cd", details={"rows": ["ab\0cd"]})
        return {"first": "ab\0cd", "rows": 2**70}

    work(JobKind("test.speak", Times), speak, *({"times": times} for times in range(3)))
    site.wait_for(lambda: set(states_of(site).values()) <= {"done", "failed"})
    ended = {job.args["times"]: job for job in site.call("jobs.list")}
    assert {times: job.state for times, job in ended.items()} == {0: "failed", 1: "failed", 2: "done"}
    assert "ValueError: ab\\x00cd caf\\udce9xx" in ended[0].error["message"]
    assert (ended[1].error["value"], ended[1].error["details"]) == ("ab\\x00cd", {"rows": ["ab\\x00cd"]})
    assert ended[2].result == {"first": "ab\\x00cd", "rows": str(2**70)}
    assert sorted(tries) == [0, 1, 2]


@pytest.mark.parametrize("is_good", [True, False])
def test_a_job_whose_end_is_refused_ends_all_the_same(
    site: Site, work: Jobs, monkeypatch: pytest.MonkeyPatch, is_good: bool
) -> None:
    """Untold, it would be taken again when its lease ends, and what it did would be done again."""
    tries: list[int] = []

    def end(_context: Any, args: Times) -> dict[str, Any]:
        tries.append(args.times)
        if is_good:
            return {"rows": "refused"}
        raise InvalidInput("refused")

    def refuse(name: str, given: Any, depth: int = 0) -> None:
        if given in ({"rows": "refused"}, {"code": "invalid_input", "message": "refused"}):
            raise InvalidInput("this is not taken", field=name)

    monkeypatch.setattr("loopwright.governance.arguments.check_content", refuse)
    monkeypatch.setattr("loopwright.governance.arguments._decoder", lambda called: None)
    work(JobKind("test.refused", Times), end, {})
    site.wait_for(lambda: states_of(site) == {"test.refused-0": "failed"})
    (job,) = site.call("jobs.list")
    assert job.error["message"] == "test.refused ended, and what it had to tell was refused: this is not taken"
    assert (tries, job.attempt) == ([0], 1)


class Panic(BaseException):
    """As libraries in Rust raise it; no ``Exception``."""


def test_a_job_that_panics_fails_and_its_slot_is_free(site: Site, work: Jobs) -> None:
    """A library reads what somebody sent; a slot that stays taken is missing to every project."""

    def panic(context: Any, args: Times) -> dict[str, Any]:
        if args.times:
            raise Panic("called `Result::unwrap()` on an `Err` value")
        return {}

    work(JobKind("test.panic", Times), panic, *({"times": 1} for _ in range(3)), {})
    site.wait_for(lambda: states_of(site).get("test.panic-3") == "done")
    site.wait_for(lambda: sorted(states_of(site).values()) == ["done", "failed", "failed", "failed"])
    failed = [job for job in site.call("jobs.list") if job.state == "failed"]
    assert "Panic: called" in failed[0].error["message"]


def test_a_look_passes_trainings_that_hold_every_slot_of_theirs(site: Site, work: Jobs) -> None:
    end = threading.Event()

    def train(_context: Any, _args: Times) -> dict[str, Any]:
        end.wait(30)
        return {}

    work(JobKind("test.train", Times, lane="training"), train, *({} for _ in range(4)))
    site.wait_for(lambda: list(states_of(site).values()).count("running") == 2)
    work(JobKind("test.look", Times, lane="looks"), lambda *_: {}, {}, {}, {})
    site.wait_for(lambda: [states_of(site).get(f"test.look-{n}") for n in range(3)] == ["done"] * 3)
    assert list(states_of(site).values()).count("queued") == 2
    end.set()
    site.wait_for(lambda: set(states_of(site).values()) == {"done"})


def test_an_attempt_that_takes_too_long_is_stopped_at_its_next_call_and_told(site: Site, work: Jobs) -> None:
    def ask_for_ever(context: Any, _args: Times) -> dict[str, Any]:
        while True:
            context.call(jobs.get, job_id=context.job.job_id)
            time.sleep(0.01)

    work(JobKind("test.long", Times, deadline_s=0.5), ask_for_ever, {})
    site.wait_for(lambda: states_of(site) == {"test.long-0": "failed"})
    (job,) = site.call("jobs.list")
    assert (job.error["code"], job.attempt) == ("too_long", 1)
    assert "took longer than 0.5 s" in job.error["message"]


def test_an_attempt_that_cannot_be_stopped_is_given_up_and_its_slot_is_free(
    site: Site, work: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("loopwright.worker.process.STUCK_AFTER_S", 0.2)
    end, at_work = threading.Event(), list[threading.Thread]()

    def stand_still(_context: Any, _args: Times) -> dict[str, Any]:
        at_work.append(threading.current_thread())
        assert end.wait(PATIENCE_S)
        return {}

    work(JobKind("test.stuck", Times, deadline_s=0.3), stand_still, {}, {})
    site.wait_for(lambda: set(states_of(site).values()) == {"failed"})
    work(JobKind("test.quick", Times), lambda *_: {}, {}, {})
    site.wait_for(lambda: [states_of(site)[f"test.quick-{n}"] for n in range(2)] == ["done"] * 2)
    end.set()
    for thread in at_work:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert {states_of(site)[f"test.stuck-{n}"] for n in range(2)} == {"failed"}
    assert "was not taken" not in caplog.text, "what ends behind its back reports nothing"


def test_a_job_under_way_is_cancelled(site: Site, work: Jobs) -> None:
    stopped = threading.Event()

    def go_on(context: Any, _args: Times) -> dict[str, Any]:
        while not context.should_stop():
            time.sleep(0.01)
        stopped.set()
        raise OSError("a file that the other side closed")  # what is stopped in the middle may raise anything

    work(JobKind("test.endless", Times), go_on, {})
    site.wait_for(lambda: states_of(site) == {"test.endless-0": "running"})
    site.call("jobs.cancel", job_id="test.endless-0", reason="enough")
    site.wait_for(lambda: states_of(site) == {"test.endless-0": "cancelled"})
    assert stopped.is_set()


def test_a_job_goes_on_later_without_holding_a_slot(site: Site, work: Jobs) -> None:
    asked: list[int] = []

    def wait_first(context: Any, _args: Times) -> dict[str, Any]:
        asked.append(context.job.attempt)
        if len(asked) == 1:
            raise NotYet(0.2)
        return {}

    work(JobKind("test.later", Times), wait_first, {})
    site.wait_for(lambda: states_of(site) == {"test.later-0": "done"})
    assert asked == [1, 2]
    assert site.call("jobs.list")[0].failures == 0
