"""Moving an execution on: the rows are the truth, every call twice is once, and what was overtaken changes nothing."""

from collections.abc import Callable

import pytest

from loopwright.governance import Dispatcher
from loopwright.kernel.clock import SECOND_US, FixedClock
from loopwright.kernel.errors import Conflict, NotFound, PermissionDenied
from loopwright.pipelines import Advanced, BegunStep, Claim, EndedStep, StepSpec
from loopwright.store import sql as store_sql
from tests.pipelines.conftest import CODE, Call, Run

Start = Callable[..., Run]
LOADED = EndedStep("load", 1, output={"rows": 3})


def events(dispatcher: Dispatcher) -> list[str]:
    dispatcher.database.seal()
    with dispatcher.database.reading() as connection:
        found = store_sql.events_after(connection, 0, limit=1000, project="flights")
    return [event.type for event in found if event.type.startswith("pipelines.")]


def test_the_end_of_a_step_begins_the_next_and_the_last_one_ends_the_execution(
    run: Run, dispatcher: Dispatcher
) -> None:
    run.take()
    assert run.advance() == Advanced("running", [BegunStep("load", 1, {})])
    assert run.states() == ["running", "waiting"]
    assert run.advance(LOADED) == Advanced("running", [BegunStep("fit", 1, {"rows": {"rows": 3}})])
    assert run.advance(EndedStep("fit", 1, output=1)) == Advanced("done")
    assert (run.read().state, run.states()) == ("done", ["done", "done"])
    assert events(dispatcher)[2:] == ["pipelines.step_finished"] * 2 + ["pipelines.finished"]


def test_each_call_twice_is_once(run: Run, dispatcher: Dispatcher) -> None:
    run.take()
    first = run.advance()
    run.take()
    assert run.advance() == first
    after = run.advance(LOADED)
    assert run.advance(EndedStep("load", 1, output="other")) == after
    assert run.read().steps[0].output == {"rows": 3}
    run.advance(EndedStep("fit", 1, output=1))
    assert run.advance(EndedStep("fit", 1, output=2)) == Advanced("done")
    assert events(dispatcher)[2:] == ["pipelines.step_finished"] * 2 + ["pipelines.finished"]


def test_what_the_caller_runs_is_not_handed_out_again(run: Run) -> None:
    run.take()
    run.advance()
    assert run.advance(running=("load",)) == Advanced("running")


def test_a_newer_attempt_of_the_job_begins_again_what_the_older_had_under_way(run: Run) -> None:
    run.take()
    run.advance()
    run.take(attempt=2)
    assert run.states() == ["waiting", "waiting"]
    assert run.advance() == Advanced("running", [BegunStep("load", 2, {})])
    with pytest.raises(Conflict, match="another worker runs this execution"):
        run.advance(LOADED, claim=Claim(run.execution_id, 1, 1))
    with pytest.raises(Conflict, match="another worker runs this execution"):
        run.take(attempt=1)
    run.take(attempt=2)
    assert run.advance(LOADED, running=("load",)) == Advanced("running")  # that attempt of the step was overtaken
    assert run.states() == ["running", "waiting"]


def test_the_job_of_an_older_round_takes_nothing(run: Run, call: Call) -> None:
    run.take(attempt=3)
    run.advance()
    run.advance(EndedStep("load", 1, error={"message": "no"}))
    call("pipelines.retry", execution_id=run.execution_id)
    with pytest.raises(Conflict):
        run.take(1, attempt=4)
    run.take(2)
    assert run.advance().begun == [BegunStep("load", 2, {})]


def test_a_step_that_failed_waits_for_its_next_try(start: Start, wall: FixedClock) -> None:
    run = start(StepSpec("load", "call", {}, CODE, retries=1), StepSpec("other", "call", {}, CODE, is_cached=False))
    run.take()
    run.advance()
    failed = EndedStep("load", 1, error={"message": "busy"}, may_retry=True)
    assert run.advance(failed, running=("other",)) == Advanced("running", [], 0.5)
    assert run.states() == ["failed", "running"]
    assert run.advance(EndedStep("other", 1)) == Advanced("running", [], 0.5)
    wall.at_us += SECOND_US
    assert run.advance() == Advanced("running", [BegunStep("load", 2, {})])
    again = EndedStep("load", 2, error={"message": "busy"}, may_retry=True)
    assert run.advance(again) == Advanced("failed")
    assert run.read().error["message"] == "busy"


def test_nothing_begins_behind_a_failure_but_what_runs_may_end(start: Start) -> None:
    run = start(*(StepSpec(name, "call", {}, CODE) for name in ("a", "b", "c")))
    run.take()
    run.advance()
    assert run.advance(EndedStep("a", 1, error={"message": "no"}), running=("b",)) == Advanced("running")
    assert run.advance(EndedStep("b", 1)) == Advanced("failed")
    assert run.states() == ["failed", "done", "waiting"]


def test_a_hit_ends_the_step_and_says_so(start: Start) -> None:
    first = start(StepSpec("load", "call", {}, CODE))
    first.take()
    first.advance()
    first.advance(EndedStep("load", 1, output=7))
    other = start(StepSpec("load", "call", {}, CODE))
    other.take()
    assert other.advance() == Advanced("done")
    (hit,) = other.read().steps
    assert (hit.state, hit.output, hit.is_from_cache, hit.attempt) == ("done", 7, True, 1)
    elsewhere = start(StepSpec("load", "call", {}, CODE))
    elsewhere.take()
    assert elsewhere.advance(environment="f" * 64).begun, "another environment, another key"


def test_a_long_run_of_cached_steps_is_ended_in_parts(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [StepSpec(f"s{n}", "call", {"n": {"value": n}}, CODE, [f"s{n - 1}"] if n else []) for n in range(5)]
    first = start(*steps)
    first.take()
    first.advance()
    for n in range(5):
        first.advance(EndedStep(f"s{n}", 1))
    monkeypatch.setattr("loopwright.pipelines.step_runs.MOST_ENDED", 2)
    run = start(*steps)
    run.take()
    assert run.advance() == Advanced("running", [], 0.0)
    assert run.advance() == Advanced("running", [], 0.0)
    assert run.advance() == Advanced("done")


def test_what_is_reported_must_be_a_step(run: Run) -> None:
    run.take()
    with pytest.raises(NotFound, match="no step lod"):
        run.advance(EndedStep("lod", 1))


def test_persons_may_not_run_executions(run: Run, call: Call) -> None:
    with pytest.raises(PermissionDenied):
        call("pipelines.take", claim=run.claim)
