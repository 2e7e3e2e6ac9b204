"""Serving: deployments, releases, rollouts, the prediction log."""

from loopwright.serving.types import (
    RELEASE_SCHEMA,
    ROLLOUT_STATES,
    ApproveSpec,
    CanaryStep,
    DeploymentSpec,
    GatewayLease,
    Release,
    Rollout,
    RolloutStep,
    ShadowStep,
    StepVerdict,
    Variant,
)

__all__ = [
    "RELEASE_SCHEMA",
    "ROLLOUT_STATES",
    "ApproveSpec",
    "CanaryStep",
    "DeploymentSpec",
    "GatewayLease",
    "Release",
    "Rollout",
    "RolloutStep",
    "ShadowStep",
    "StepVerdict",
    "Variant",
]
