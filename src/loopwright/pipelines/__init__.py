"""Pipelines: definitions, durable executions, step cache, codecs, executors."""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.pipelines import definitions, executions, packing, step_runs
    from loopwright.pipelines.cache import environment_digest, forget_unused_outputs
    from loopwright.pipelines.codecs import Codec, Files
    from loopwright.pipelines.declarations import check_declarable, declare, declare_built, named_blobs
    from loopwright.pipelines.definitions import get_definition, get_pipeline, list_pipelines, schedule_key
    from loopwright.pipelines.events import (
        ExecutionCancelled,
        ExecutionFailed,
        ExecutionFinished,
        ExecutionRetried,
        ExecutionStarted,
        PipelineDeclared,
        StartSkipped,
        StepAttemptFailed,
        StepFinished,
    )
    from loopwright.pipelines.executions import (
        cancel,
        finish_execution,
        get,
        get_state,
        list_executions,
        retry,
        start,
        start_scheduled,
        unanswered,
    )
    from loopwright.pipelines.executors.enclosure import Enclosure, open_inside
    from loopwright.pipelines.executors.pool import ChildPool
    from loopwright.pipelines.step_runs import advance, take
    from loopwright.pipelines.steps import PipelineContext, StepContext
    from loopwright.pipelines.types import (
        EXECUTION_STATES,
        STEP_STATES,
        Advanced,
        BegunStep,
        Claim,
        EndedStep,
        Execute,
        Execution,
        Pipeline,
        PipelineSpec,
        StepRun,
        StepSpec,
        TakenExecution,
    )

__getattr__ = later(__name__)

__all__ = [
    "EXECUTION_STATES",
    "STEP_STATES",
    "Advanced",
    "BegunStep",
    "ChildPool",
    "Claim",
    "Codec",
    "Enclosure",
    "EndedStep",
    "Execute",
    "Execution",
    "ExecutionCancelled",
    "ExecutionFailed",
    "ExecutionFinished",
    "ExecutionRetried",
    "ExecutionStarted",
    "Files",
    "Pipeline",
    "PipelineContext",
    "PipelineDeclared",
    "PipelineSpec",
    "StartSkipped",
    "StepAttemptFailed",
    "StepContext",
    "StepFinished",
    "StepRun",
    "StepSpec",
    "TakenExecution",
    "advance",
    "cancel",
    "check_declarable",
    "declare",
    "declare_built",
    "definitions",
    "environment_digest",
    "executions",
    "finish_execution",
    "forget_unused_outputs",
    "get",
    "get_definition",
    "get_pipeline",
    "get_state",
    "list_executions",
    "list_pipelines",
    "named_blobs",
    "open_inside",
    "packing",
    "retry",
    "schedule_key",
    "start",
    "start_scheduled",
    "step_runs",
    "take",
    "unanswered",
]
