"""A worker claims jobs, runs pipelines, and loses nothing when it or the server is killed."""

import signal
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.governance import LOCAL_ACTOR
from loopwright.kernel.errors import Unavailable
from loopwright.store.types import Job
from loopwright.store.work import JOBS
from loopwright.worker import Worker
from loopwright.worker.context import make_context
from tests.waiting import PATIENCE_S
from tests.worker.conftest import Site

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


def test_a_killed_worker_resumes_at_the_unfinished_step(site: Site) -> None:
    site.start_worker()
    execution_id = site.begin(site.step("load"), site.step("slow", inputs=ROWS), site.step("tick", after=("slow",)))
    site.wait_for(lambda: "slow-begins" in site.done)
    site.kill_worker()
    site.let_go()
    site.start_worker()
    ended = site.wait(execution_id)
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


def test_a_job_that_finds_a_part_missing_is_done_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopwright.worker.process.REPEAT_AFTER_S", (0.01, 0.01))
    tries: dict[str, int] = {}

    def find_it_missing(_context: Any, job: Job) -> dict[str, Any]:
        tries[job.job_id] = tries.get(job.job_id, 0) + 1
        if tries[job.job_id] <= job.args["times"]:
            raise Unavailable("a gateway has not sealed its spool")
        return {"rows": 3}

    monkeypatch.setitem(JOBS, "test.missing", find_it_missing)
    for times in (2, 3):
        args = {"times": times}
        site.server.dispatcher.write(
            "flights", LOCAL_ACTOR, lambda tx, a=args: tx.start_job("test.missing", "flights/x:y", a, job_id=f"job_{a}")
        )
    worker = Worker(make_context(msgspec.structs.replace(site.server.context.settings, url=site.server.url)))
    thread = threading.Thread(target=worker.run)
    thread.start()
    site.wait_for(lambda: {job.state for job in site.call("jobs.list")} == {"done", "failed"})
    threading.Thread(target=worker.stop).start()
    site.server.context.stop_waiting()
    thread.join()
    ended = {job.args["times"]: (job.state, job.attempt) for job in site.call("jobs.list")}
    assert ended == {2: ("done", 1), 3: ("failed", 1)}
    assert set(tries.values()) == {3}
