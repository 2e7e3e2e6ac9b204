"""An execution, and what a person may do with it."""

import pytest

from loopwright.governance import Dispatcher
from loopwright.kernel.clock import HOUR_US, FixedClock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.pipelines import Advanced, BegunStep, EndedStep, Execution, PipelineSpec, StepSpec
from loopwright.store import sql as store_sql
from tests.pipelines.conftest import Call, Run

CODE = CodeRef("0" * 64, "project", "step", "1" * 64)


@pytest.fixture
def execution(run: Run) -> Execution:
    return run.read()


def events(dispatcher: Dispatcher) -> list[str]:
    dispatcher.database.seal()
    with dispatcher.database.reading() as connection:
        found = store_sql.events_after(connection, 0, limit=1000, project="flights")
    return [event.type for event in found if event.type.startswith("pipelines.")]


def test_row_job_and_event_begin_together(call: Call, dispatcher: Dispatcher, execution: Execution) -> None:
    assert (execution.state, execution.params, [one.state for one in execution.steps]) == (
        "queued",
        {"rate": 0.2},
        ["waiting"] * 2,
    )
    (job,) = call("jobs.list")
    assert job.args == {"execution_id": execution.execution_id, "round": 1}
    assert events(dispatcher) == ["pipelines.declared", "pipelines.started"]
    with pytest.raises(InvalidInput, match="has no param rte"):
        call("pipelines.start", pipeline="train", params={"rte": 1})


def test_the_same_once_is_one_execution(call: Call, execution: Execution) -> None:
    first = call("pipelines.start", pipeline="train", once="event 17")
    assert call("pipelines.start", pipeline="train", once="event 17") == first
    assert len(call("pipelines.list", pipeline="train")) == 2


def test_a_failed_execution_goes_on_from_the_failed_step(run: Run, call: Call) -> None:
    run.take()
    run.advance()
    run.advance(EndedStep("load", 1, output=7))
    run.advance(EndedStep("fit", 1, error={"code": "invalid_input", "message": "no rows"}))
    failed = run.read()
    assert failed.state == "failed"
    assert failed.error["step"] == "fit"
    assert failed.error["message"] == "no rows"
    assert failed.error["next_step"] == (
        "mended in the code: loopwright apply FILE, then loopwright start train; "
        f"mended elsewhere: loopwright retry {failed.execution_id}"
    )
    retried = call("pipelines.retry", execution_id=failed.execution_id, reason="fixed")
    assert (retried.state, retried.round, run.states()) == ("queued", 2, ["done", "waiting"])
    assert len(call("jobs.list")) == 2
    run.take(2)
    assert run.advance().begun == [BegunStep("fit", 2, {"rows": 7})]
    assert run.read().steps[1].error is None


def test_the_hint_of_a_step_leads_and_how_to_go_on_follows(run: Run) -> None:
    run.take()
    run.advance()
    run.advance(EndedStep("load", 1, error={"code": "too_large", "message": "too big", "next_step": "use fewer rows"}))
    assert run.read().error["next_step"].startswith("use fewer rows; mended in the code: loopwright apply FILE")


def test_a_cancelled_execution_begins_no_step(run: Run, call: Call) -> None:
    run.take()
    run.advance()
    execution_id = run.execution_id
    cancelled = call("pipelines.cancel", execution_id=execution_id, reason="wrong rate")
    assert call("pipelines.cancel", execution_id=execution_id) == cancelled
    assert (cancelled.state, run.states()) == ("cancelled", ["failed", "skipped"])
    assert run.advance(EndedStep("load", 1, output=1)) == Advanced("cancelled")
    assert run.states() == ["failed", "skipped"]
    with pytest.raises(Conflict, match="cannot become queued"):
        call("pipelines.retry", execution_id=execution_id)


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
