"""Tracking: experiments, runs, metrics, artifacts."""

from loopwright.tracking.types import (
    RUN_STATES,
    Artifact,
    Environment,
    MetricPoint,
    Run,
    SourceState,
)

__all__ = [
    "RUN_STATES",
    "Artifact",
    "Environment",
    "MetricPoint",
    "Run",
    "SourceState",
]
