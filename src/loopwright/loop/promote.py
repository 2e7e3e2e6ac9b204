"""Bringing versions into traffic: deploy, promote, roll back; registry, serving and monitoring together."""

from loopwright import monitoring, registry, serving
from loopwright.governance import require_role
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Role, verb
from loopwright.loop import retrain
from loopwright.serving import Release, Rollout
from loopwright.store.tx import Tx


@verb("loop.deploy", changes=Rollout)
def deploy(tx: Tx, *, deployment: str, version: int, reason: str = "", force_reason: str = "") -> Rollout:
    """Start the rollout of a registered version.

    Args:
        deployment: The endpoint.
        version: Number of a version of the deployment's model.
        reason: Why, for the audit trail.
        force_reason: Passes a version whose gates failed; asks for the approver role, is shown for ever, and waits for
            the approval of somebody else. The rollout itself (shadow, canary) is never skipped.

    Raises:
        Conflict: The version's gates did not pass, or were never run, and no ``force_reason`` was given.
    """
    spec = serving.get(tx, deployment=deployment).spec
    model_version = registry.get_version(tx, model=spec.model, version=version)
    if force_reason:
        require_role(tx, Role.APPROVER, "force a version past its gates")
        # A refit saw the held-out rows, so it was judged by the version whose recipe it repeats, and is forced by it.
        registry.force_gates(tx, model=spec.model, version=model_version.refit_of or version, reason=force_reason)
    return serving.start_rollout(
        tx,
        deployment=deployment,
        version=version,
        reason=reason or force_reason,
        needs_approval=False if force_reason else None,
        forced_reason=force_reason,
    )


def promote(tx: Tx, deployment: str, version: int, reason: str) -> None:
    """Make a version champion: alias, monitoring's reference, and the incidents that it healed."""
    set_champion(tx, deployment, version, reason)
    retrain.close_retrain(tx, deployment, "promoted", f"version {version} serves", version=version)
    subject = tx.ref("deployment", deployment)
    # Newer rows mend drift and decay; missing values, errors and latency have other causes and stay open.
    for incident in monitoring.list_incidents(tx, subject=subject):
        if incident.state != "resolved" and incident.kind in ("drift", "decay"):
            monitoring.resolve(
                tx, incident_id=incident.incident_id, reason=f"version {version} was trained on newer rows and serves"
            )


def set_champion(tx: Tx, deployment: str, version: int, reason: str) -> None:
    """Move monitoring's reference to a version, and the model's alias where this deployment is one that does."""
    spec = serving.get(tx, deployment=deployment).spec
    model_version = registry.get_version(tx, model=spec.model, version=version)
    if serving.moves_champion(tx, spec):
        registry.set_alias(tx, model=spec.model, alias=registry.CHAMPION, version=version, reason=reason)
    if model_version.monitoring_profile:
        monitoring.set_reference(
            tx, deployment=deployment, profile_digest=model_version.monitoring_profile, model_version=version
        )
    monitoring.open_windows(tx, deployment=deployment, start_at=tx.now_us)


@verb("loop.rollback", changes=Release, role=Role.APPROVER)
def rollback(tx: Tx, *, deployment: str, reason: str) -> Release:
    """Return to the last good release at once; returns the release that serves now."""
    if not reason.strip():
        raise InvalidInput("a rollback needs a reason", field="reason", rule="at least one word")
    return serving.rollback(tx, deployment=deployment, reason=reason)
