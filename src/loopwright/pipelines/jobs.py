"""Jobs of pipelines: running an execution."""

import logging
from typing import Any, cast

from loopwright.kernel.errors import Conflict, LoopwrightError, StepFailed, Unavailable
from loopwright.pipelines.executions import finish_execution
from loopwright.pipelines.interpreter import run_execution
from loopwright.pipelines.steps import PipelineContext
from loopwright.pipelines.types import Execute
from loopwright.store.work import JobContext, NotYet, job

log = logging.getLogger("loopwright.pipelines")


@job(Execute)
def execute(context: JobContext, work: Execute) -> dict[str, Any]:
    """Run an execution to its end; a worker that takes it over goes on where the rows say it stands."""
    try:
        return {"state": run_execution(cast(PipelineContext, context), work, context.job.attempt)}
    except (Conflict, NotYet, Unavailable):  # another worker has it, or this job is done again
        raise
    except Exception as error:  # the execution must not stay open behind a job that ended
        if not isinstance(error, LoopwrightError):
            log.exception("execution %s failed", work.execution_id)
            error = StepFailed(f"the execution broke off: {error}", next_step="the worker's log has the details")
        context.call(finish_execution, execution_id=work.execution_id, error=error.to_dict())
        raise error from None
