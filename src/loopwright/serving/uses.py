"""Which versions and feature plans endpoints need: what serves, what is tried, what a rollback returns to."""

from collections.abc import Iterator

import msgspec

from loopwright.features import FeaturePlan
from loopwright.kernel.errors import Conflict
from loopwright.serving import sql
from loopwright.serving.rollouts.rollouts import last_good
from loopwright.serving.types import Release
from loopwright.store.tx import Tx


class Use(msgspec.Struct, frozen=True):
    """That a deployment needs a version of a model: ``how`` is the rest of a sentence about the deployment."""

    deployment: str
    model: str
    version: int
    how: str


def list_uses(tx: Tx) -> Iterator[Use]:
    """Yield which versions the endpoints of the project need; one that was retired needs none."""
    for deployment in sql.list_deployments(tx):
        name, model = deployment.spec.name, deployment.spec.model
        release = sql.find_release(tx, name)
        for variant in [] if release is None else release.variants:
            how = "runs it unseen" if variant.is_shadow else "serves it"
            yield Use(name, variant.model, variant.version, how)
        live = sql.live_rollout(tx, name)
        if live is not None:
            yield Use(name, model, live.version, f"rolls it out ({live.rollout_id} is {live.state.replace('_', ' ')})")
        if release is not None and (earlier := _earlier(tx, name)) is not None:
            yield Use(name, model, earlier, "would return to it by a rollback")


def served_plans(tx: Tx) -> Iterator[tuple[str, str, FeaturePlan]]:
    """Yield the deployment's name, digest and content of the feature plans that endpoints look features up by."""
    for deployment in sql.list_deployments(tx):
        release: Release | None = sql.find_release(tx, deployment.spec.name)
        for digest, plan in ({} if release is None else release.plans).items():
            yield deployment.spec.name, digest, plan


def _earlier(tx: Tx, deployment: str) -> int | None:
    try:
        return last_good(tx, deployment)
    except Conflict:
        return None
