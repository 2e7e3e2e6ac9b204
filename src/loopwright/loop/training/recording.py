"""The run of a step: started once, ended once, however often the step is done again after a crash."""

from typing import Any

from loopwright import tracking
from loopwright.pipelines import StepContext
from loopwright.tracking import Run, SourceState


def run_of(
    context: StepContext,
    experiment: str,
    *,
    params: dict[str, Any],
    tags: dict[str, str],
    inputs: list[str],
    source: SourceState | None,
) -> Run:
    """Return the run of this step of this execution, whatever its state; a new one if there is none."""
    own = {"step": context.step.name, "execution": context.execution.execution_id}
    same = " and ".join(f'tags.{name} = "{value}"' for name, value in own.items())
    for run in context.call(tracking.search_runs, experiment=experiment, filter=same, limit=1):
        return run
    return context.call(
        tracking.start_run,
        experiment=experiment,
        name=f"{context.step.name} {context.execution.execution_id[-6:]}",
        params=params,
        tags={**tags, **own},
        inputs=inputs,
        execution_id=context.execution.execution_id,
        environment=tracking.capture_environment(),
        source=source,
    )


def finish(context: StepContext, run: Run, metrics: dict[str, float]) -> None:
    """End a run with its metrics; one that has ended stays as it is."""
    if run.state != "running":
        return
    if metrics and not run.metrics:
        context.call(tracking.log, run_id=run.run_id, metrics={**metrics})
    context.call(tracking.finish_run, run_id=run.run_id)
