"""A definition is checked when it is declared, and kept by its digest."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.verbs import Role
from loopwright.pipelines import PipelineSpec, StepSpec
from loopwright.store import sql as store_sql
from loopwright.store.types import BlobRef

CODE = CodeRef("0" * 64, "project", "step", "1" * 64)
Call = Callable[..., Any]


def step(name: str, *after: str, **inputs: dict[str, Any]) -> StepSpec:
    return StepSpec(name, "call", inputs, CODE, list(after))


@pytest.mark.parametrize(
    ("steps", "message", "hint"),
    [
        ([step("load"), step("fit", rows={"step": "laod"})], "no step is named laod", "did you mean load?"),
        ([step("fit", rows={"param": "rat"})], "no param is named rat", "did you mean rate?"),
        ([step("a", "b"), step("b", "a")], "wait for each other", None),
        ([step("a"), step("a")], "two steps have one name", None),
        (
            [StepSpec("a", "loop.gates")],
            "the platform's own kind",
            "declare it with @p.train or p.command and apply the project",
        ),
        ([step("a"), StepSpec("b", "loop.finish_training")], "the platform's own kind", None),
        ([StepSpec("a", "lop.gates")], "no kind of step is named lop.gates", "did you mean loop.gates?"),
        ([StepSpec("a", "loop.x")], "no kind of step is named loop.x", None),
        ([StepSpec("a", "call")], "a call needs a function", None),
        ([step("a", rows={"stp": "b"})], "an input has one source", None),
        ([], "a pipeline needs a step", None),
    ],
)
def test_a_definition_that_cannot_run_is_refused(
    call: Call, steps: list[StepSpec], message: str, hint: str | None
) -> None:
    spec = PipelineSpec("train", steps, {"rate": 0.1})
    with pytest.raises(InvalidInput, match=message) as caught:
        call("pipelines.declare", spec=spec)
    assert hint is None or caught.value.next_step == hint


def test_a_running_execution_keeps_its_definition(call: Call) -> None:
    first = call("pipelines.declare", spec=PipelineSpec("train", [step("load")]))
    started = call("pipelines.start", pipeline="train")
    second = call("pipelines.declare", spec=PipelineSpec("train", [step("load"), step("fit", "load")]))
    assert first.digest != second.digest
    assert call("pipelines.get", execution_id=started.execution_id).pipeline_digest == first.digest
    assert [one.name for one in call("pipelines.get_definition", digest=first.digest).steps] == ["load"]
    assert call("pipelines.list_pipelines") == [second]


def test_an_unknown_pipeline_is_answered_with_the_nearest(call: Call) -> None:
    call("pipelines.declare", spec=PipelineSpec("train", [step("load")]))
    with pytest.raises(NotFound, match="no pipeline is named trian") as caught:
        call("pipelines.start", pipeline="trian")
    assert caught.value.next_step == "did you mean train?"


def test_a_schedule_is_a_timer_that_stays_where_it_is(call: Call, dispatcher: Dispatcher) -> None:
    def timers() -> list[Any]:
        with dispatcher.database.reading() as connection:
            return store_sql.due_timers(connection, "flights", 2**62, limit=10)

    call("pipelines.declare", spec=PipelineSpec("train", [step("load")], schedule_us=HOUR_US))
    call("pipelines.declare", spec=PipelineSpec("trains", [step("load")], schedule_us=2 * HOUR_US))
    before = timers()
    assert [timer.args["pipeline"] for timer in before] == ["train", "trains"]
    dispatcher.wall.at_us += HOUR_US // 2  # type: ignore[attr-defined]
    call("pipelines.declare", spec=PipelineSpec("train", [step("load"), step("fit")], schedule_us=HOUR_US))
    assert timers() == before
    call("pipelines.declare", spec=PipelineSpec("train", [step("load")]))
    assert [timer.args["pipeline"] for timer in timers()] == ["trains"]


def test_a_digest_seen_elsewhere_opens_nothing(dispatcher: Dispatcher) -> None:
    """A step's child reads what its inputs name, and returns it as this project's own."""

    def call(verb: str, /, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=Actor("person:eve", {"flights": Role.EDITOR}), project="flights")

    foreign = {"codec": "frame", "blob": "a" * 64, "rows": 1}
    given = PipelineSpec("read", [step("read", rows={"value": foreign})])
    asked = PipelineSpec("read", [step("read", rows={"param": "rows"})], {"rows": None})
    deep = {"value": [{"deep": {"codec": "model", "blobs": {"model.txt": "a" * 64}}}]}
    code = CodeRef("a" * 64, "project", "step", "1" * 64)

    def keep(digest: str) -> None:
        dispatcher.write("flights", SERVICE_ACTOR, lambda tx: tx.keep_blobs(BlobRef(digest, 3)))

    keep(CODE.digest)
    for spec in (
        given,
        msgspec.structs.replace(asked, params={"rows": foreign}),
        PipelineSpec("read", [step("read", rows=deep)]),
        PipelineSpec("read", [StepSpec("read", "call", {}, code)]),
    ):
        with pytest.raises(NotFound, match="this project has no such blob"):
            call("pipelines.declare", spec=spec)
    call("pipelines.declare", spec=asked)
    with pytest.raises(NotFound, match="this project has no such blob"):
        call("pipelines.start", pipeline="read", params={"rows": foreign})
    keep("a" * 64)
    assert call("pipelines.start", pipeline="read", params={"rows": foreign}).state == "queued"
    assert call("pipelines.declare", spec=given).spec == given
