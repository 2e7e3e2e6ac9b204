"""A command line is words with places for files; it becomes a pipeline of one step."""

import pytest

from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput
from loopwright.loop import CommandSpec, ModelOutput
from loopwright.loop.commands import command_pipeline, read_words
from loopwright.pipelines.definitions import check_definition


def test_words_are_read_as_a_shell_reads_them() -> None:
    words = read_words("python 'my fit.py' --data={data} {{not}} {out}", {"data", "out"}, {"out"})
    assert words == ["python", "my fit.py", "--data={data}", "{{not}}", "{out}"]
    for command, told in (
        ("fit {oot} {out}", "named oot"),
        ("fit", "never names"),
        ("fit '{out}", "read"),
        (" ", "empty"),
    ):
        with pytest.raises(InvalidInput, match=told):
            read_words(command, {"out"}, {"out"})


def test_a_command_is_a_pipeline_that_may_run() -> None:
    output = ModelOutput("churn", "model.txt", "binary")
    spec = CommandSpec("train", ["fit", "{out}"], {"data": "events"}, {"out": output}, "0" * 64, ("a.lock", "1" * 64))
    pipeline = command_pipeline(spec, {"trees": 20}, timeout_s=60, schedule_us=None)
    check_definition(pipeline)
    [step] = pipeline.steps
    assert (step.kind, step.timeout_s, step.is_cached) == ("loop.command", 60, False)
    assert step.inputs["trees"] == {"param": "trees"}
    assert convert(step.inputs["command"]["value"], CommandSpec) == spec
