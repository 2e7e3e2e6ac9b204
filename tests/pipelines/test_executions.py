"""An execution and its steps: every verb twice is once, and what a person may do with it."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.clock import HOUR_US, FixedClock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import Conflict, InvalidInput, PermissionDenied
from loopwright.pipelines import Execution, PipelineSpec, StepSpec
from loopwright.store import sql as store_sql

CODE = CodeRef("0" * 64, "project", "step", "1" * 64)
Call = Callable[..., Any]


@pytest.fixture
def service(dispatcher: Dispatcher) -> Call:
    def by_name(verb: str, /, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=SERVICE_ACTOR, project="flights")

    return by_name


@pytest.fixture
def execution(call: Call) -> Execution:
    steps = [StepSpec("load", "call", {}, CODE), StepSpec("fit", "call", {"rows": {"step": "load"}}, CODE)]
    call("pipelines.declare", spec=PipelineSpec("train", steps, {"rate": 0.1}))
    started: Execution = call("pipelines.start", pipeline="train", params={"rate": 0.2}, reason="because")
    return started


def events(dispatcher: Dispatcher) -> list[str]:
    with dispatcher.database.reading() as connection:
        found = store_sql.events_after(connection, 0, limit=1000, project="flights")
    return [event.type for event in found if event.type.startswith("pipelines.")]


def states(execution: Execution) -> list[str]:
    return [run.state for run in execution.steps]


def test_row_job_and_event_begin_together(call: Call, dispatcher: Dispatcher, execution: Execution) -> None:
    assert (execution.state, execution.params, states(execution)) == ("queued", {"rate": 0.2}, ["waiting"] * 2)
    (job,) = call("jobs.list")
    assert job.args == {"execution_id": execution.execution_id, "round": 1}
    assert events(dispatcher) == ["pipelines.declared", "pipelines.started"]
    with pytest.raises(InvalidInput, match="has no param rte"):
        call("pipelines.start", pipeline="train", params={"rte": 1})


def test_the_same_once_is_one_execution(call: Call, execution: Execution) -> None:
    first = call("pipelines.start", pipeline="train", once="event 17")
    assert call("pipelines.start", pipeline="train", once="event 17") == first
    assert len(call("pipelines.list", pipeline="train")) == 2


def test_reporting_twice_is_once(service: Call, dispatcher: Dispatcher, execution: Execution) -> None:
    one = {"execution_id": execution.execution_id, "step": "load"}
    begun = service("pipelines.begin_step", **one)
    assert (begun.state, begun.attempt) == ("running", 1)
    again = service("pipelines.begin_step", **one)  # another process after a crash
    assert again.attempt == 2
    late = service("pipelines.finish_step", **one, attempt=1, output="late")
    assert late.state == "running"
    done = service("pipelines.finish_step", **one, attempt=2, output={"rows": 3})
    assert service("pipelines.finish_step", **one, attempt=2, output="other") == done
    assert service("pipelines.begin_step", **one) == done
    service("pipelines.begin_step", execution_id=execution.execution_id, step="fit")
    service("pipelines.finish_step", execution_id=execution.execution_id, step="fit", attempt=1, output=1)
    ended = service("pipelines.finish_execution", execution_id=execution.execution_id)
    assert service("pipelines.finish_execution", execution_id=execution.execution_id) == ended
    assert (ended.state, states(ended)) == ("done", ["done", "done"])
    assert events(dispatcher)[2:] == ["pipelines.step_finished"] * 2 + ["pipelines.finished"]


def test_a_failed_execution_goes_on_from_the_failed_step(service: Call, call: Call, execution: Execution) -> None:
    one = {"execution_id": execution.execution_id}
    service("pipelines.begin_step", **one, step="load")
    service("pipelines.finish_step", **one, step="load", attempt=1, output=7)
    service("pipelines.begin_step", **one, step="fit")
    with pytest.raises(Conflict, match="still to be run"):
        service("pipelines.finish_execution", **one)
    service("pipelines.fail_step", **one, step="fit", attempt=1, error={"code": "step_failed", "message": "no rows"})
    failed = service("pipelines.finish_execution", **one)
    assert failed.state == "failed"
    assert failed.error["step"] == "fit"
    assert failed.error["message"] == "no rows"
    assert "loopwright retry" in failed.error["next_step"]
    retried = call("pipelines.retry", **one, reason="fixed")
    assert (retried.state, retried.round, states(retried)) == ("queued", 2, ["done", "waiting"])
    assert len(call("jobs.list")) == 2
    begun = service("pipelines.begin_step", **one, step="fit")
    assert (begun.state, begun.attempt, begun.error) == ("running", 2, None)


def test_a_cancelled_execution_begins_no_step(service: Call, call: Call, execution: Execution) -> None:
    one = {"execution_id": execution.execution_id}
    service("pipelines.begin_step", **one, step="load")
    cancelled = call("pipelines.cancel", **one, reason="wrong rate")
    assert call("pipelines.cancel", **one) == cancelled
    assert (cancelled.state, states(cancelled)) == ("cancelled", ["failed", "skipped"])
    assert service("pipelines.finish_step", **one, step="load", attempt=1, output=1).state == "failed"
    with pytest.raises(Conflict, match="the execution is cancelled"):
        service("pipelines.begin_step", **one, step="load")
    with pytest.raises(Conflict, match="cannot become queued"):
        call("pipelines.retry", **one)


def test_a_hit_ends_the_step_and_says_so(service: Call, call: Call, execution: Execution) -> None:
    service("pipelines.begin_step", execution_id=execution.execution_id, step="load", cache_key="k")
    args = {"step": "load", "attempt": 1, "output": 7, "cache_key": "k"}
    service("pipelines.finish_step", execution_id=execution.execution_id, **args)
    other = call("pipelines.start", pipeline="train")
    hit = service("pipelines.begin_step", execution_id=other.execution_id, step="load", cache_key="k")
    assert (hit.state, hit.output, hit.is_from_cache) == ("done", 7, True)


def test_persons_may_not_report_steps(call: Call, execution: Execution) -> None:
    with pytest.raises(PermissionDenied):
        call("pipelines.begin_step", execution_id=execution.execution_id, step="load")


def test_a_schedule_starts_and_plans_itself_again(
    service: Call, call: Call, dispatcher: Dispatcher, wall: FixedClock
) -> None:
    steps = [StepSpec("load", "call", {}, CODE)]
    call("pipelines.declare", spec=PipelineSpec("hourly", steps, schedule_us=HOUR_US))
    with dispatcher.database.reading() as connection:
        (timer,) = store_sql.due_timers(connection, "flights", 2**62, limit=10)
    wall.at_us = timer.due_at + 2 * HOUR_US + 5  # two starts were missed
    started = service("pipelines.start_scheduled", **timer.args)
    assert started.reason == "scheduled"
    with dispatcher.database.reading() as connection:
        (planned,) = store_sql.due_timers(connection, "flights", 2**62, limit=10)
    assert planned.due_at == timer.due_at + 3 * HOUR_US
    assert service("pipelines.start_scheduled", **planned.args) is None
    assert events(dispatcher)[-1] == "pipelines.start_skipped"
