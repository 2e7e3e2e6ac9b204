"""Tracing: a pipeline function becomes a DAG of the steps it calls."""

from typing import Any

import pytest

import loopwright as lw
from loopwright.client.handles import Step
from loopwright.client.tracing import trace_pipeline
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput

p = lw.Project("traced")


def to_code(function: Any) -> CodeRef:
    return CodeRef("0" * 64, "traced", function.__name__, "1" * 64)


@p.step(retries=1, timeout="5m", cache=False)
def load(path: str, rows: int = 10) -> list[int]:
    return [len(path)] * rows


@p.step
def join(left: list[int], right: list[int]) -> list[int]:
    return left + right


def twice(path: str = "data/", rows: int = 3) -> None:
    join(load(path), right=load("other", rows))


def test_calls_become_steps_with_their_inputs() -> None:
    spec = trace_pipeline(twice, 7, to_code)
    assert (spec.name, spec.params, spec.schedule_us) == ("twice", {"path": "data/", "rows": 3}, 7)
    assert [(step.name, step.inputs) for step in spec.steps] == [
        ("load", {"path": {"param": "path"}}),
        ("load_2", {"path": {"value": "other"}, "rows": {"param": "rows"}}),
        ("join", {"left": {"step": "load"}, "right": {"step": "load_2"}}),
    ]
    assert (spec.steps[0].retries, spec.steps[0].timeout_s, spec.steps[0].is_cached) == (1, 300.0, False)


def test_outside_a_pipeline_a_step_is_its_function() -> None:
    assert isinstance(load, Step)
    assert join(load("ab", 2), [3]) == [2, 2, 3]


def test_a_wrong_call_is_told_and_ends_the_tracing() -> None:
    def wrong() -> None:
        load(pth="data/")

    with pytest.raises(InvalidInput, match="step load is called wrongly: missing a required argument: 'path'"):
        trace_pipeline(wrong, None, to_code)
    assert load("ab", 1) == [2]


def test_a_step_knows_no_wrong_option() -> None:
    with pytest.raises(TypeError, match="retry"):
        p.step(retry=3)
