"""Pipelines: definitions, durable executions, step cache, codecs, executors."""

from loopwright.pipelines.types import (
    EXECUTION_STATES,
    STEP_STATES,
    Execution,
    PipelineSpec,
    StepRun,
    StepSpec,
)

__all__ = [
    "EXECUTION_STATES",
    "STEP_STATES",
    "Execution",
    "PipelineSpec",
    "StepRun",
    "StepSpec",
]
