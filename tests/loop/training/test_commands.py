"""A command line is words with places for files; it becomes a pipeline of one step."""

from typing import Any

import msgspec
import pytest

from loopwright.kernel.documents import convert, from_json, to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.loop import CommandSpec, ModelOutput
from loopwright.loop.training.commands import check_command, command_pipeline, fill_word, read_words
from loopwright.pipelines import PipelineSpec, StepSpec
from loopwright.pipelines.definitions import check_definition

OUTPUT = ModelOutput("churn", "model.txt", "binary")
SPEC = CommandSpec("train", ["fit", "{out}"], {"rows": "events"}, {"out": OUTPUT}, "0" * 64, ("a.lock", "1" * 64))


def pipeline_of(spec: CommandSpec, **changes: Any) -> PipelineSpec:
    made = command_pipeline(spec, {"trees": 20}, timeout_s=60, schedule_us=None)
    return msgspec.structs.replace(made, **changes)


def test_words_are_read_as_a_shell_reads_them() -> None:
    words = read_words("python 'my fit.py' --data={data} {{not}} {out}", {"data", "out"}, {"out"})
    assert words == ["python", "my fit.py", "--data={data}", "{{not}}", "{out}"]
    for command, told in (
        ("fit {oot} {out}", "named oot"),
        ("fit", "never names"),
        ("fit '{out}", "read"),
        (" ", "empty"),
        ("fit {out.__class__} {out}", "named out.__class__"),
        ("fit {out[0]} {out}", "named out"),
        ("fit {out!r} {out}", "named out!r"),
        ("fit {out:>9} {out}", "named out:>9"),
        ("fit {{out} {out}", "a brace stands alone"),
    ):
        with pytest.raises(InvalidInput, match=told):
            read_words(command, {"out"}, {"out"})


def test_a_command_is_a_pipeline_that_may_run() -> None:
    pipeline = pipeline_of(SPEC)
    check_definition(pipeline)
    check_command(pipeline)
    check_command(from_json(to_json(pipeline), PipelineSpec))
    [step] = pipeline.steps
    assert (step.kind, step.timeout_s, step.is_cached) == ("loop.command", 60, False)
    assert step.inputs["trees"] == {"param": "trees"}
    assert convert(step.inputs["command"]["value"], CommandSpec) == SPEC


def test_a_place_is_a_name_and_nothing_more() -> None:
    """Attributes and items of what fills a place lead to the whole process."""
    assert fill_word("{{{x}}}={x}", {"x": "{y}"}) == "{{y}}={y}"
    with pytest.raises(KeyError):
        fill_word("{x.__class__}", {"x": 1})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"words": ["fit", "{rows.read_text.__globals__}", "{out}"]}, "nothing is named rows.read_text"),
        ({"words": ["fit"]}, "never names"),
        ({"words": []}, "empty"),
        ({"inputs": {"../../x": "events"}}, "this name cannot be used"),
        ({"inputs": {"out": "events"}}, "used twice"),
        ({"outputs": {"out": msgspec.structs.replace(OUTPUT, file="../../loopwright.db")}}, "leads out of its folder"),
        ({"outputs": {"out": msgspec.structs.replace(OUTPUT, file="/etc/passwd")}}, "leads out of its folder"),
        ({"environment": ("../../service.token", "1" * 64)}, "leads out of its folder"),
    ],
)
def test_a_command_from_the_wire_is_checked_as_a_declared_one(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        check_command(pipeline_of(msgspec.structs.replace(SPEC, **changes)))


def test_nothing_travels_beside_a_command() -> None:
    made = pipeline_of(SPEC)
    forged = StepSpec("finish", "loop.finish_training", {"registered": {"value": {"version": 1}}})
    for changed in (
        msgspec.structs.replace(made, steps=[*made.steps, forged]),
        msgspec.structs.replace(made, name="other"),
        msgspec.structs.replace(made, steps=[msgspec.structs.replace(made.steps[0], is_cached=True)]),
    ):
        with pytest.raises(InvalidInput, match="not the pipeline of a command"):
            check_command(changed)
