"""The agenda of an execution: which steps are due, by its definition and by how its steps stand. Pure."""

import graphlib
from collections.abc import Iterator, Mapping
from typing import Any

from loopwright.kernel.errors import InvalidInput
from loopwright.pipelines.types import PipelineSpec, StepRun, StepSpec

ENDED = ("done", "skipped")
"""States of steps that let those behind them begin."""


class Agenda:
    """A definition, prepared for the question what comes next.

    Args:
        spec: The definition; ``check_definition`` has passed it.
    """

    def __init__(self, spec: PipelineSpec) -> None:
        self.spec = spec
        self.steps: dict[str, StepSpec] = {step.name: step for step in topological(spec)}
        self.waits_for: dict[str, list[str]] = {name: sorted(waits_for(step)) for name, step in self.steps.items()}

    def due(self, runs: Mapping[str, StepRun], wall_us: int) -> Iterator[StepSpec]:
        """Yield the steps that may begin now, in the order of the definition; none once a step failed for good.

        Args:
            runs: Every step of the execution by name; may change while this is iterated.
            wall_us: The machine's present moment, microseconds UTC.
        """
        if has_failed(runs):
            return
        for name, step in self.steps.items():
            if _is_ready(runs[name], wall_us) and all(runs[before].state in ENDED for before in self.waits_for[name]):
                yield step


def topological(spec: PipelineSpec) -> list[StepSpec]:
    """Return the steps so that each stands behind those it waits for.

    Raises:
        InvalidInput: They form a cycle.
    """
    by_name = {step.name: step for step in spec.steps}
    try:
        order = graphlib.TopologicalSorter({step.name: sorted(waits_for(step)) for step in spec.steps}).static_order()
        return [by_name[name] for name in order]
    except graphlib.CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        raise InvalidInput("the steps wait for each other", field="steps", value=cycle, rule="no cycles") from None


def waits_for(step: StepSpec) -> set[str]:
    """Return the names of the steps that must end before this one begins."""
    return {str(source["step"]) for source in step.inputs.values() if "step" in source} | set(step.after)


def has_failed(runs: Mapping[str, StepRun]) -> bool:
    """Say whether a step failed for good, so that nothing more begins."""
    return any(run.state == "failed" and run.due_at is None for run in runs.values())


def is_over(runs: Mapping[str, StepRun]) -> bool:
    """Say whether nothing of an execution is left to run."""
    states = {run.state for run in runs.values()}
    return "running" not in states and (has_failed(runs) or states <= set(ENDED))


def next_retry_at(runs: Mapping[str, StepRun]) -> int | None:
    """Return when the first of the steps that failed begins again, microseconds UTC; None where none will."""
    if has_failed(runs):
        return None
    return min((run.due_at for run in runs.values() if run.state == "failed" and run.due_at is not None), default=None)


def _is_ready(run: StepRun, wall_us: int) -> bool:
    if run.state == "failed":
        return run.due_at is not None and run.due_at <= wall_us
    return run.state == "waiting"


def resolve_inputs(step: StepSpec, params: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """Return the documents a step takes, by parameter name."""
    resolved = {}
    for name, source in step.inputs.items():
        if "step" in source:
            resolved[name] = outputs[source["step"]]
        elif "param" in source:
            resolved[name] = params[source["param"]]
        else:
            resolved[name] = source["value"]
    return resolved


def why_skipped(output: Any) -> str | None:
    """Return why a step's output skips the steps behind it; None if it does not."""
    if isinstance(output, dict) and output.get("skip") is True:
        return str(output.get("why") or "a step before it said so")
    return None
