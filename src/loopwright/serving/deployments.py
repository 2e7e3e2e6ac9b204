"""Queries of deployments: one, all, those served elsewhere, and how one stands now."""

from loopwright.kernel.errors import Conflict, NotFound
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import query
from loopwright.serving import sql
from loopwright.serving.gateways import list_gateways
from loopwright.serving.strictness import loosened_on_the_way
from loopwright.serving.types import Deployment, DeploymentSpec, DeploymentStatus
from loopwright.store.tx import Tx


@query("serving.get")
def get(tx: Tx, *, deployment: str) -> Deployment:
    """Return one deployment as declared."""
    found = sql.find_deployment(tx, deployment)
    if found is None:
        raise _unknown(tx, deployment)
    return found


@query("serving.list")
def list_deployments(tx: Tx, *, model: str | None = None) -> list[Deployment]:
    """Return the deployments of the project, or those of one model, by name."""
    return sql.list_deployments(tx, model=model)


@query("serving.status")
def status(tx: Tx, *, deployment: str) -> DeploymentStatus:
    """Return a deployment with its newest release, who cannot load that, and its live or last rollout."""
    found = get(tx, deployment=deployment)
    newest = sql.newest_release(tx, deployment)
    release = None if newest is None or newest.is_retired else newest
    rollouts = sql.list_rollouts(tx, deployment=deployment, limit=1)
    failures = [
        failure
        for lease in list_gateways(tx)
        for failure in lease.failures
        if release is not None and (failure.deployment, failure.number) == (deployment, release.number)
    ]
    return DeploymentStatus(
        found, release, rollouts[0] if rollouts else None, failures, newest if release is None else None
    )


@query("serving.external_deployments", internal=True, parts=("gateway",), above_projects=True)
def external_deployments(tx: Tx) -> list[Deployment]:
    """Return the deployments of every project whose model runs elsewhere; gateways only log for them."""
    return [deployment for deployment in sql.every_deployment(tx.connection) if deployment.spec.is_external]


def moves_champion(tx: Tx, spec: DeploymentSpec) -> bool:
    """Say whether what a deployment promotes becomes its model's champion, for whoever asks for the model.

    Of several that serve a model, only those do whose way there is as strict as that of each other. Where neither of
    two is, the one that served first goes before, so that a later declaration takes the alias from nobody.
    """
    served_since = _served_since(tx, spec.name)
    for other in sql.list_deployments(tx, model=spec.model):
        since = _served_since(tx, other.spec.name)
        if since is None or other.spec.name == spec.name or not loosened_on_the_way(other.spec, spec):
            continue
        is_looser = not loosened_on_the_way(spec, other.spec)
        if is_looser or served_since is None or since < served_since:
            return False
    return True


def _served_since(tx: Tx, deployment: str) -> int | None:
    """Return the place of a deployment's first release in the order of all; None before that, and once it ended."""
    first, newest = sql.find_release(tx, deployment, 1), sql.find_release(tx, deployment)
    return None if first is None or newest is None else first.position


def lock_served(tx: Tx, deployment: str) -> Deployment:
    """Return a deployment that has releases, and keep other writers of it waiting until this transaction ends.

    Raises:
        NotFound: No such deployment.
        Conflict: Its model is served elsewhere.
    """
    found = sql.find_deployment(tx, deployment, lock=True)
    if found is None:
        raise _unknown(tx, deployment)
    if found.spec.is_external:
        raise Conflict(
            f"the model of {deployment} is served elsewhere",
            field="deployment",
            value=deployment,
            rule="external deployments have predictions, labels and windows, but no releases",
            next_step="change what serves it there",
        )
    return found


def _unknown(tx: Tx, deployment: str) -> NotFound:
    names = [each.spec.name for each in sql.list_deployments(tx)]
    return NotFound(
        f"no deployment is named {deployment}",
        field="deployment",
        value=deployment,
        next_step=suggest(deployment, names, "loopwright apply FILE declares it"),
    )
