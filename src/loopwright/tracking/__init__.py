"""Tracking: experiments, runs, metrics, artifacts."""

from loopwright.tracking.environment import capture_environment
from loopwright.tracking.events import (
    ArtifactLogged,
    RunFailed,
    RunFinished,
    RunKilled,
    RunStarted,
    TagsSet,
)
from loopwright.tracking.experiments import list_experiments
from loopwright.tracking.runs import (
    finish_run,
    get_run,
    log,
    log_artifact,
    log_batch,
    metric_history,
    running_among,
    search_runs,
    set_tags,
    start_run,
)
from loopwright.tracking.source_state import read_source_state
from loopwright.tracking.types import (
    RUN_STATES,
    Artifact,
    Environment,
    Experiment,
    LoggedMetric,
    MetricPoint,
    NonFinite,
    Number,
    Run,
    SourceState,
    name_non_finite,
    read_number,
)

__all__ = [
    "RUN_STATES",
    "Artifact",
    "ArtifactLogged",
    "Environment",
    "Experiment",
    "LoggedMetric",
    "MetricPoint",
    "NonFinite",
    "Number",
    "Run",
    "RunFailed",
    "RunFinished",
    "RunKilled",
    "RunStarted",
    "SourceState",
    "TagsSet",
    "capture_environment",
    "finish_run",
    "get_run",
    "list_experiments",
    "log",
    "log_artifact",
    "log_batch",
    "metric_history",
    "name_non_finite",
    "read_number",
    "read_source_state",
    "running_among",
    "search_runs",
    "set_tags",
    "start_run",
]
