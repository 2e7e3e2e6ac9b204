"""Serving: deployments, releases, rollouts, the prediction log.

What reads the log needs Polars and is imported when first named: ``from loopwright.serving import predictions``.
"""

from typing import TYPE_CHECKING

from loopwright.serving.declarations import declare
from loopwright.serving.deployments import external_deployments, get, list_deployments, status
from loopwright.serving.gateways import acknowledge, gateways, is_acknowledged, report_failure
from loopwright.serving.releases import get_release, list_releases, refresh, release, releases_after
from loopwright.serving.rollouts.planning import describe_progress
from loopwright.serving.rollouts.rollouts import (
    abort,
    get_rollout,
    list_looks,
    list_rollouts,
    on_approved,
    on_rejected,
    pause,
    resume,
    rollback,
    start_rollout,
)
from loopwright.serving.rollouts.steps import finish_step, judge_step
from loopwright.serving.scores import SCORERS, finish_score, start_score
from loopwright.serving.types import (
    CANDIDATE,
    CHAMPION,
    RELEASE_SCHEMA,
    ROLLOUT_STATES,
    ApproveSpec,
    CanaryStep,
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    GatewayLease,
    JudgeSpec,
    Look,
    Release,
    ReleaseFailure,
    Rollout,
    RolloutStep,
    ScoreSpec,
    ShadowStep,
    StepVerdict,
    Variant,
    candidate_of,
    champion_of,
)

if TYPE_CHECKING:
    from loopwright.serving import predictions

__all__ = [
    "CANDIDATE",
    "CHAMPION",
    "RELEASE_SCHEMA",
    "ROLLOUT_STATES",
    "SCORERS",
    "ApproveSpec",
    "CanaryStep",
    "Deployment",
    "DeploymentSpec",
    "DeploymentStatus",
    "GatewayLease",
    "JudgeSpec",
    "Look",
    "Release",
    "ReleaseFailure",
    "Rollout",
    "RolloutStep",
    "ScoreSpec",
    "ShadowStep",
    "StepVerdict",
    "Variant",
    "abort",
    "acknowledge",
    "candidate_of",
    "champion_of",
    "declare",
    "describe_progress",
    "external_deployments",
    "finish_score",
    "finish_step",
    "gateways",
    "get",
    "get_release",
    "get_rollout",
    "is_acknowledged",
    "judge_step",
    "list_deployments",
    "list_looks",
    "list_releases",
    "list_rollouts",
    "on_approved",
    "on_rejected",
    "pause",
    "predictions",
    "refresh",
    "release",
    "releases_after",
    "report_failure",
    "resume",
    "rollback",
    "start_rollout",
    "start_score",
    "status",
]
