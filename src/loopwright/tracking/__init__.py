"""Tracking: experiments, runs, metrics, artifacts."""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.tracking.environment import capture_environment
    from loopwright.tracking.events import (
        ArtifactLogged,
        ParamsAdded,
        RunFailed,
        RunFinished,
        RunKilled,
        RunStarted,
        TagsSet,
    )
    from loopwright.tracking.experiments import list_experiments
    from loopwright.tracking.runs import (
        count_points,
        finish_run,
        get_run,
        log,
        log_artifact,
        log_batch,
        metric_history,
        remove_points,
        running_among,
        runs_with_old_points,
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

__getattr__ = later(__name__)

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
    "ParamsAdded",
    "Run",
    "RunFailed",
    "RunFinished",
    "RunKilled",
    "RunStarted",
    "SourceState",
    "TagsSet",
    "capture_environment",
    "count_points",
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
    "remove_points",
    "running_among",
    "runs_with_old_points",
    "search_runs",
    "set_tags",
    "start_run",
]
