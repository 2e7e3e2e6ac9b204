"""Did it run, and where was time lost?"""

import msgspec

from loopwright import pipelines
from loopwright.pipelines import Execution, StepRun
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.kit.words import State, state


class StepRow(msgspec.Struct, frozen=True):
    """One step as a row of the Gantt chart; ``start`` and ``end`` are shares of the whole execution."""

    run: StepRun
    state: State
    start: float
    end: float
    took_us: int | None
    tone: str


def show_pipelines(ask: Ask) -> View:
    """Return the pipelines and their last executions."""
    chosen = ask.asked("pipeline")
    executions = ask(pipelines.list_executions, pipeline=chosen or None, limit=PAGE_ROWS)
    facts = {
        "pipelines": ask(pipelines.list_pipelines),
        "executions": executions,
        "pipeline": chosen,
    }
    return View("pipelines/pipelines.html", "Pipelines", "Pipelines", facts)


def show_execution(ask: Ask) -> View:
    """Return one execution, its steps on a common axis of time."""
    execution = ask(pipelines.get, execution_id=ask.part("execution_id"))
    facts = {"execution": execution, "steps": step_rows(execution, ask.tx.wall_us)}
    return View("pipelines/execution.html", execution.pipeline, "Pipelines", facts)


def step_rows(execution: Execution, wall_us: int) -> list[StepRow]:
    """Return the steps with their places between the first start and the last end."""
    starts = [run.started_at for run in execution.steps if run.started_at is not None]
    ends = [run.finished_at or wall_us for run in execution.steps if run.started_at is not None]
    first, whole = min(starts, default=0), max(max(ends, default=1) - min(starts, default=0), 1)
    rows = []
    for run in execution.steps:
        if run.started_at is None:
            look = state("idle", run.state) if run.state == "waiting" else state(run.state)
            rows.append(StepRow(run, look, 0.0, 0.0, None, ""))
            continue
        end = run.finished_at or wall_us
        look = State("from cache", "fine") if run.is_from_cache else state(run.state)
        start = (run.started_at - first) / whole
        rows.append(StepRow(run, look, start, (end - run.started_at) / whole + start, end - run.started_at, look.tone))
    return rows


ROUTES = [*page("/pipelines", show_pipelines), *page("/pipelines/{execution_id}", show_execution)]
