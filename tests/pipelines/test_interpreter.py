"""The interpreter: our rows are the truth, whatever the engine remembers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.clock import WallClock
from loopwright.kernel.errors import InvalidInput, StepFailed
from loopwright.pipelines import STEP_KINDS, PipelineSpec, StepContext, StepSpec, step_kind
from loopwright.pipelines.interpreter import interpret
from loopwright.store.blobs import BlobStore
from loopwright.store.types import EVERY_STREAM, Streams


class Context:
    """A worker's context that calls the verbs in this process."""

    children: Any = None

    def __init__(self, dispatcher: Dispatcher, blobs: BlobStore, folder: Path) -> None:
        self.blobs, self.state_dir, self.wall = blobs, folder, WallClock()
        self._dispatcher = dispatcher

    def call(self, verb: str, args: dict[str, Any], project: str) -> Any:
        return self._dispatcher.call(verb, args, actor=SERVICE_ACTOR, project=project)

    def progress(self, text: str) -> None: ...
    def transform(self, *_: Any) -> None: ...
    def seal(self, streams: Streams = EVERY_STREAM) -> None: ...


def reserve(_name: str) -> Callable[..., Any]:
    return lambda work: work()


def forgetful(_name: str) -> Callable[..., Any]:
    """An engine that believes every step was done."""
    return lambda _work: {"state": "done"}


@pytest.fixture
def context(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path) -> Context:
    return Context(dispatcher, blob_store, tmp_path)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the steps that ran, in order; a step kind for tests notes them."""
    noted: list[str] = []
    monkeypatch.setattr("loopwright.pipelines.interpreter.BACKOFF_S", 0.001)
    kept = dict(STEP_KINDS)

    @step_kind("tests.note")
    def note(step: StepContext, inputs: dict[str, Any]) -> Any:
        noted.append(step.step.name)
        if "fails" in inputs and noted.count(step.step.name) <= inputs["fails"]:
            raise {"step": StepFailed, "input": InvalidInput, "bug": KeyError}[inputs.get("how", "step")]("it broke")
        return inputs.get("x", len(noted))

    names = ["tests.note"]  # as if another package brought it
    monkeypatch.setattr("loopwright.pipelines.definitions.plugin_names", lambda kind: names)
    monkeypatch.setattr("loopwright.pipelines.definitions.plugged_names", lambda kind: names)
    yield noted
    STEP_KINDS.clear()
    STEP_KINDS.update(kept)


def step(name: str, *after: str, retries: int = 0, is_cached: bool = False, **inputs: Any) -> StepSpec:
    given = {key: value if isinstance(value, dict) else {"value": value} for key, value in inputs.items()}
    return StepSpec(name, "tests.note", given, None, list(after), retries=retries, is_cached=is_cached)


def run(call: Callable[..., Any], context: Context, *steps: StepSpec, reserve: Any = reserve) -> Any:
    call("pipelines.declare", spec=PipelineSpec("train", list(steps), {"at": 5}))
    execution_id = call("pipelines.start", pipeline="train").execution_id
    interpret(context, "flights", execution_id, reserve)
    return call("pipelines.get", execution_id=execution_id)


def test_inputs_come_from_steps_params_and_values(call: Callable[..., Any], context: Context, done: list[str]) -> None:
    ended = run(call, context, step("b", x={"step": "a"}), step("a", x={"param": "at"}), step("c", "b", x=[7]))
    assert done == ["a", "b", "c"]
    assert {one.step: one.output for one in ended.steps} == {"a": 5, "b": 5, "c": [7]}
    assert ended.state == "done"


@pytest.mark.parametrize(("how", "tries"), [("step", 3), ("bug", 3), ("input", 1)])
def test_only_what_may_pass_is_tried_again(
    call: Callable[..., Any], context: Context, done: list[str], how: str, tries: int
) -> None:
    ended = run(call, context, step("a", retries=2, fails=9, how=how), step("b", "a"))
    assert (ended.state, done) == ("failed", ["a"] * tries)
    assert ended.steps[0].failures == tries
    assert "it broke" in ended.error["message"]
    interpret(context, "flights", ended.execution_id, reserve)
    assert len(done) == tries


def test_a_crash_after_the_last_failure_does_not_try_again(
    call: Callable[..., Any], context: Context, done: list[str]
) -> None:
    call("pipelines.declare", spec=PipelineSpec("train", [step("a", fails=9)], {}))
    one = {"execution_id": call("pipelines.start", pipeline="train").execution_id}
    context.call("pipelines.begin_step", {**one, "step": "a"}, "flights")
    failed = {**one, "step": "a", "attempt": 1, "error": {"message": "no"}}
    context.call("pipelines.fail_step", failed, "flights")
    assert interpret(context, "flights", one["execution_id"], reserve) == {"state": "failed"}
    assert done == []
    call("pipelines.retry", **one)
    interpret(context, "flights", one["execution_id"], reserve)
    assert done == ["a"]


def test_our_rows_overrule_an_engine_that_remembers_more(
    call: Callable[..., Any], context: Context, done: list[str]
) -> None:
    ended = run(call, context, step("a"), step("b", "a"), reserve=forgetful)
    assert (ended.state, done) == ("done", ["a", "b"])


def test_a_skip_reaches_everything_behind_it(call: Callable[..., Any], context: Context, done: list[str]) -> None:
    skip = {"skip": True, "why": "no new rows"}
    ended = run(call, context, step("a", x={"value": skip}), step("b", "a"), step("c", "b"), step("d"))
    assert [one.state for one in ended.steps] == ["done", "skipped", "skipped", "done"]
    assert ended.steps[2].output == {"skip": True, "why": "no new rows"}
    assert sorted(done) == ["a", "d"]


def test_the_cache_covers_inputs(call: Callable[..., Any], context: Context, done: list[str]) -> None:
    run(call, context, step("a", x=1, is_cached=True))
    again = run(call, context, step("other", x=1, is_cached=True), step("third", x=2, is_cached=True))
    assert [one.is_from_cache for one in again.steps] == [True, False]
    assert sorted(done) == ["a", "third"]
