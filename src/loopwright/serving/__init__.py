"""Serving: deployments, releases, rollouts, the prediction log.

What reads the log needs Polars and is imported when first named: ``from loopwright.serving import predictions``.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.serving import ledgers, predictions
    from loopwright.serving.declarations import declare, find_loosening
    from loopwright.serving.deployments import external_deployments, get, list_deployments, moves_champion, status
    from loopwright.serving.events import (
        DeploymentDeclared,
        Released,
        ReleasedVariant,
        ReleaseFailed,
        Retired,
        RolledBack,
        RolloutAborted,
        RolloutFinished,
        RolloutPaused,
        RolloutResumed,
        RolloutStarted,
        RolloutStepJudged,
        RolloutStepStarted,
        Scored,
        ScoreStarted,
    )
    from loopwright.serving.failures import report_failure
    from loopwright.serving.gateways import acknowledge, forget_gateways, is_acknowledged, last_heard_of, list_gateways
    from loopwright.serving.releases import get_release, list_releases, refresh, release, releases_after, retire
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
        JudgeLook,
        Look,
        Release,
        ReleaseFailure,
        Rollout,
        RolloutStep,
        ScoreSpec,
        ShadowStep,
        StepVerdict,
        Trouble,
        Variant,
        candidate_of,
        champion_of,
    )
    from loopwright.serving.uses import Use, list_uses, served_plans

__getattr__ = later(__name__)

__all__ = [
    "CANDIDATE",
    "CHAMPION",
    "RELEASE_SCHEMA",
    "ROLLOUT_STATES",
    "SCORERS",
    "ApproveSpec",
    "CanaryStep",
    "Deployment",
    "DeploymentDeclared",
    "DeploymentSpec",
    "DeploymentStatus",
    "GatewayLease",
    "JudgeLook",
    "Look",
    "Release",
    "ReleaseFailed",
    "ReleaseFailure",
    "Released",
    "ReleasedVariant",
    "Retired",
    "RolledBack",
    "Rollout",
    "RolloutAborted",
    "RolloutFinished",
    "RolloutPaused",
    "RolloutResumed",
    "RolloutStarted",
    "RolloutStep",
    "RolloutStepJudged",
    "RolloutStepStarted",
    "ScoreSpec",
    "ScoreStarted",
    "Scored",
    "ShadowStep",
    "StepVerdict",
    "Trouble",
    "Use",
    "Variant",
    "abort",
    "acknowledge",
    "candidate_of",
    "champion_of",
    "declare",
    "describe_progress",
    "external_deployments",
    "find_loosening",
    "finish_score",
    "finish_step",
    "forget_gateways",
    "get",
    "get_release",
    "get_rollout",
    "is_acknowledged",
    "judge_step",
    "last_heard_of",
    "ledgers",
    "list_deployments",
    "list_gateways",
    "list_looks",
    "list_releases",
    "list_rollouts",
    "list_uses",
    "moves_champion",
    "on_approved",
    "on_rejected",
    "pause",
    "predictions",
    "refresh",
    "release",
    "releases_after",
    "report_failure",
    "resume",
    "retire",
    "rollback",
    "served_plans",
    "start_rollout",
    "start_score",
    "status",
]
