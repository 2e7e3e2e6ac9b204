"""Jobs of pipelines: running an execution."""

import logging
from typing import Any, cast

from loopwright.kernel.errors import LoopwrightError, StepFailed
from loopwright.pipelines import durable
from loopwright.pipelines.executions import JOB
from loopwright.pipelines.steps import PipelineContext
from loopwright.store.types import Job
from loopwright.store.work import JobContext, job

log = logging.getLogger("loopwright.pipelines")


@job(JOB)
def execute(context: JobContext, work: Job) -> dict[str, Any]:
    """Run an execution to its end through the durable engine; a second run attaches to the first."""
    execution_id = str(work.args["execution_id"])
    running = cast(PipelineContext, context)
    try:
        return durable.engine_for(running).run(running, work.project, execution_id, int(work.args.get("round", 1)))
    except Exception as error:  # the execution must not stay open behind a job that ended
        if not isinstance(error, LoopwrightError):
            log.exception("execution %s failed", execution_id)
            error = StepFailed(f"the execution broke off: {error}", next_step="the worker's log has the details")
        args = {"execution_id": execution_id, "error": error.to_dict()}
        context.call("pipelines.finish_execution", args, work.project)
        raise error from None
