"""A worker's side of an execution: it makes the attempts that are handed out, and stops where it is not wanted."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.governance import Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import Conflict, InvalidInput, StepFailed
from loopwright.pipelines import (
    ChildPool,
    Claim,
    Execute,
    Execution,
    PipelineSpec,
    StepContext,
    StepSpec,
    take,
)
from loopwright.pipelines.interpreter import run_execution
from loopwright.store.blobs import BlobStore
from tests.inprocess import InProcessWorker
from tests.waiting import PATIENCE_S


@pytest.fixture
def worker(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path, wall: FixedClock) -> InProcessWorker:
    return InProcessWorker(dispatcher, blob_store, tmp_path, wall)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the steps that ran, in order; a step kind for tests notes them."""
    noted: list[str] = []
    monkeypatch.setattr("loopwright.pipelines.step_runs.BACKOFF_S", 0.0)

    def note(step: StepContext, inputs: dict[str, Any]) -> Any:
        noted.append(step.step.name)
        if "fails" in inputs and noted.count(step.step.name) <= inputs["fails"]:
            raise {"step": StepFailed, "input": InvalidInput, "bug": KeyError}[inputs.get("how", "step")]("it broke")
        return inputs.get("x", len(noted))

    run_steps_by(monkeypatch, note)
    names = ["tests.note"]  # as if another package brought it
    monkeypatch.setattr("loopwright.pipelines.definitions.plugin_names", lambda kind: names)
    monkeypatch.setattr("loopwright.pipelines.declarations.plugged_names", lambda kind: names)
    return noted


def run_steps_by(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any]) -> None:
    """Have steps run by a function; which kind they are of does not matter."""
    monkeypatch.setattr("loopwright.pipelines.interpreter.find_step_function", lambda kind: function)


def step(name: str, *after: str, retries: int = 0, is_cached: bool = False, **inputs: Any) -> StepSpec:
    given = {key: value if isinstance(value, dict) else {"value": value} for key, value in inputs.items()}
    return StepSpec(name, "tests.note", given, None, list(after), retries=retries, is_cached=is_cached)


def begin(call: Callable[..., Any], *steps: StepSpec) -> Execute:
    call("pipelines.declare", spec=PipelineSpec("train", list(steps), {"at": 5}))
    return Execute(call("pipelines.start", pipeline="train").execution_id)


def run(call: Callable[..., Any], worker: InProcessWorker, *steps: StepSpec) -> Execution:
    work = begin(call, *steps)
    run_execution(worker, work, 1)  # type: ignore[arg-type]
    found: Execution = call("pipelines.get", execution_id=work.execution_id)
    return found


def test_inputs_come_from_steps_params_and_values(
    call: Callable[..., Any], worker: InProcessWorker, done: list[str]
) -> None:
    ended = run(call, worker, step("b", x={"step": "a"}), step("a", x={"param": "at"}), step("c", "b", x=[7]))
    assert done == ["a", "b", "c"]
    assert {one.step: one.output for one in ended.steps} == {"a": 5, "b": 5, "c": [7]}
    assert ended.state == "done"


@pytest.mark.parametrize(("how", "tries"), [("step", 3), ("bug", 3), ("input", 1)])
def test_only_what_may_pass_is_tried_again(
    call: Callable[..., Any], worker: InProcessWorker, done: list[str], how: str, tries: int
) -> None:
    ended = run(call, worker, step("a", retries=2, fails=9, how=how), step("b", "a"))
    assert (ended.state, done) == ("failed", ["a"] * tries)
    assert ended.steps[0].failures == tries
    assert "it broke" in ended.error["message"]
    assert run_execution(worker, Execute(ended.execution_id), 2) == "failed"  # type: ignore[arg-type]
    assert len(done) == tries


def test_a_skip_reaches_everything_behind_it(
    call: Callable[..., Any], worker: InProcessWorker, done: list[str]
) -> None:
    skip = {"skip": True, "why": "no new rows"}
    ended = run(call, worker, step("a", x={"value": skip}), step("b", "a"), step("c", "b"), step("d"))
    assert [one.state for one in ended.steps] == ["done", "skipped", "skipped", "done"]
    assert ended.steps[2].output == {"skip": True, "why": "no new rows"}
    assert sorted(done) == ["a", "d"]


def test_the_cache_covers_inputs(call: Callable[..., Any], worker: InProcessWorker, done: list[str]) -> None:
    run(call, worker, step("a", x=1, is_cached=True))
    again = run(call, worker, step("other", x=1, is_cached=True), step("third", x=2, is_cached=True))
    assert [one.is_from_cache for one in again.steps] == [True, False]
    assert sorted(done) == ["a", "third"]


@pytest.mark.parametrize(("slots", "at_once"), [(0, 1), (1, 1), (3, 3)])
def test_an_execution_makes_as_many_attempts_at_once_as_its_lane_has_slots(
    call: Callable[..., Any],
    worker: InProcessWorker,
    done: list[str],
    blob_store: BlobStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slots: int,
    at_once: int,
) -> None:
    meeting = threading.Barrier(at_once)  # lets nobody go on until so many are there
    at_work, most = threading.Semaphore(at_once), []

    def meet(context: StepContext, inputs: dict[str, Any]) -> None:
        most.append(at_work.acquire(blocking=False))
        meeting.wait(PATIENCE_S)
        at_work.release()

    run_steps_by(monkeypatch, meet)
    worker.children = ChildPool(tmp_path / "pool", blob_store, slots={"training": slots})
    ended = run(call, worker, *(step(f"s{number}") for number in range(3)))
    assert (ended.state, most) == ("done", [True] * 3)


def test_a_chain_costs_a_call_a_step_and_a_cached_chain_one(
    call: Callable[..., Any], worker: InProcessWorker, done: list[str]
) -> None:
    asked: list[str] = []
    worker.before_call = asked.append
    chain = [step("s0", x={"param": "at"}, is_cached=True)]
    chain += [step(f"s{n}", x={"step": f"s{n - 1}"}, n=n, is_cached=True) for n in range(1, 10)]
    run(call, worker, *chain)
    assert asked == ["pipelines.take", *["pipelines.advance"] * 11]
    asked.clear()
    ended = run(call, worker, *chain)
    assert asked == ["pipelines.take", "pipelines.advance"]
    assert (ended.state, {one.is_from_cache for one in ended.steps}, len(done)) == ("done", {True}, 10)


def test_an_answer_that_is_lost_costs_nothing_and_runs_nothing_twice(
    call: Callable[..., Any], worker: InProcessWorker, done: list[str]
) -> None:
    """Each call is carried out, its answer is lost, and it is sent again: the server was killed before it answered."""
    told = worker.call

    def twice(function: Any, /, *args: Any, **kwargs: Any) -> Any:
        told(function, *args, **kwargs)
        return told(function, *args, **kwargs)

    worker.call = twice  # type: ignore[method-assign]
    ended = run(call, worker, step("a"), step("b", "a", retries=1, fails=1), step("c", "a"), step("d", "b", "c"))
    assert ended.state == "done"
    assert sorted(done) == ["a", "b", "b", "c", "d"]
    assert [one.attempt for one in ended.steps] == [1, 2, 1, 1]


def test_what_another_worker_has_taken_stops_here(
    call: Callable[..., Any], worker: InProcessWorker, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.pipelines.interpreter._ASK_EVERY_S", 0.0)
    was_stopped = threading.Event()

    def overtaken(context: StepContext, _inputs: dict[str, Any]) -> Any:
        """Lose the execution, then run on until told to stop."""
        worker.call(take, claim=Claim(work.execution_id, 1, 2))
        while not context.should_stop():  # type: ignore[misc]
            pass
        was_stopped.set()
        return 1

    run_steps_by(monkeypatch, overtaken)
    work = begin(call, step("slow"), step("end", "slow"))
    with pytest.raises(Conflict, match="another worker runs this execution"):
        run_execution(worker, work, 1)  # type: ignore[arg-type]
    assert was_stopped.is_set()
    run_steps_by(monkeypatch, lambda *_: 2)
    assert run_execution(worker, work, 2) == "done"  # type: ignore[arg-type]
    ended = {one.step: (one.output, one.attempt) for one in call("pipelines.get", execution_id=work.execution_id).steps}
    assert ended["slow"] == (2, 2)
