"""Tracing a pipeline function into a DAG: calls of steps return handles instead of running."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from loopwright.client.handles import RECORDER, Step, StepCall
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput
from loopwright.pipelines import PipelineSpec, StepSpec


class ParamHandle(msgspec.Struct, frozen=True):
    """A parameter of a pipeline while it is traced."""

    param: str


class _Trace:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Step, dict[str, Any]]] = []

    def add(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepCall:
        """Record one call under a name of its own."""
        used = {name for name, _, _ in self.calls}
        name, number = step.name, 2
        while name in used:
            name, number = f"{step.name}_{number}", number + 1
        try:
            bound = inspect.signature(step.function).bind(*args, **kwargs).arguments
        except TypeError as error:
            raise InvalidInput(f"step {step.name} is called wrongly: {error}", field=step.name) from None
        self.calls.append((name, step, dict(bound)))
        return StepCall(name)


def trace_pipeline(
    function: Callable[..., Any], schedule_us: int | None, to_code: Callable[[Callable[..., Any]], CodeRef]
) -> PipelineSpec:
    """Run a pipeline function on handles and return the DAG of the steps it called."""
    parameters = inspect.signature(function).parameters
    trace = _Trace()
    token = RECORDER.set(trace.add)
    try:
        function(**{name: ParamHandle(name) for name in parameters})
    finally:
        RECORDER.reset(token)
    defaults = {
        name: parameter.default for name, parameter in parameters.items() if parameter.default is not parameter.empty
    }
    steps = [
        StepSpec(
            name=name,
            kind="call",
            inputs={parameter: _to_input(value) for parameter, value in bound.items()},
            function=to_code(step.function),
            retries=step.retries,
            timeout_s=step.timeout_s,
            is_cached=step.is_cached,
        )
        for name, step, bound in trace.calls
    ]
    return PipelineSpec(function.__name__, steps, defaults, schedule_us)


def _to_input(value: Any) -> dict[str, Any]:
    if isinstance(value, StepCall):
        return {"step": value.step}
    if isinstance(value, ParamHandle):
        return {"param": value.param}
    return {"value": value}
