"""The joints of the loop: which event is answered by which verb, and why. One function a rule."""

from loopwright import data, features, monitoring, registry, serving
from loopwright.governance import approvals
from loopwright.kernel.events import Event
from loopwright.kernel.refs import parse_ref
from loopwright.loop import promote, retrain, sql
from loopwright.loop.reactor import reaction
from loopwright.serving import DeploymentSpec
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx


@reaction("data.version_ready")
def fill_online_store(tx: Tx, event: Event) -> None:
    """A new dataset version feeds the views over it, unless programs push the same rows themselves."""
    ref = parse_ref(event.ref)
    assert ref.version is not None
    version = data.get_version(tx, dataset=ref.name, version=ref.version)
    is_pushed = bool(store_sql.find_chunks(tx.connection, tx.project, "pushes", stream=ref.name))
    if is_pushed and version.operation == "append":
        return
    for view in features.list_definitions(tx, kind="view"):
        if view.spec["dataset"] == ref.name:
            features.start_materialize(
                tx, view=view.name, dataset_version=ref.version, reason=f"version {ref.version} of {ref.name} is ready"
            )


@reaction("data.version_quarantined")
def report_quarantine(tx: Tx, event: Event) -> None:
    """A quarantined version needs a person: the data, or the check, is wrong."""
    monitoring.raise_alert(
        tx,
        subject=event.ref,
        kind="data",
        message=event.reason,
        facts=event.payload,
        needs_person=True,
        severity="warning",
    )


@reaction("loop.trained")
def roll_out_trained(tx: Tx, event: Event) -> None:
    """A version that passed its gates is rolled out in every deployment of its model; others are refused."""
    model, version = str(event.payload["model"]), int(event.payload["version"])
    alias = str(event.payload.get("alias") or "")
    if alias:
        registry.set_alias(tx, model=model, alias=alias, version=version, reason=event.reason)
        return
    for spec in deployments_of(tx, model):
        if event.payload["passed"]:
            promote.start_rollout(tx, spec, version, event.reason)
        else:
            retrain.close_retrain(tx, spec.name, "refused", event.reason)


@reaction("pipelines.failed")
def close_failed_retrain(tx: Tx, event: Event) -> None:
    """A retrain whose training failed needs a person."""
    execution_id = str(event.payload["execution_id"])
    for record in sql.list_retrains(tx.connection, tx.project, execution_id=execution_id):
        retrain.close_retrain(tx, record.deployment, "failed", event.reason, execution_id=execution_id)
        monitoring.raise_alert(
            tx,
            subject=tx.ref("deployment", record.deployment),
            kind="retrain",
            message=f"retrain failed: {event.reason}",
            facts={"execution_id": execution_id},
            needs_person=True,
            severity="critical",
        )


@reaction("approvals.approved", "approvals.rejected")
def pass_on_decision(tx: Tx, event: Event) -> None:
    """A rollout that waited for a person goes on or ends."""
    approval = approvals.get(tx, approval_id=str(event.payload["approval_id"]))
    subject = parse_ref(approval.subject)
    if subject.kind == "rollout":
        decide = serving.on_approved if event.type == "approvals.approved" else serving.on_rejected
        decide(tx, rollout_id=subject.name, reason=event.reason)


@reaction("registry.alias_set", "registry.alias_removed")
def refresh_followers(tx: Tx, event: Event) -> None:
    """A followed alias moved: its deployments get a new release with the version it names now."""
    alias = str(event.payload["alias"])
    for spec in deployments_of(tx, str(event.payload["model"])):
        if alias in spec.follow:
            serving.refresh(tx, deployment=spec.name, reason=f"alias {alias} moved: {event.reason}")


@reaction("serving.rollout_finished")
def promote_candidate(tx: Tx, event: Event) -> None:
    """A finished rollout makes its version champion, the new reference of monitoring; what it healed is resolved."""
    promote.promote(tx, str(event.payload["deployment"]), int(event.payload["version"]), event.reason)


@reaction("serving.rollout_aborted")
def close_aborted(tx: Tx, event: Event) -> None:
    """An aborted rollout leaves the champion in place and ends its retrain."""
    deployment = str(event.payload["deployment"])
    retrain.close_retrain(tx, deployment, "refused", event.reason)


@reaction("serving.rolled_back")
def follow_rollback(tx: Tx, event: Event) -> None:
    """A rollback moves the champion alias back to the version that serves again."""
    deployment = str(event.payload["deployment"])
    version = int(event.payload["version"])
    retrain.close_retrain(tx, deployment, "refused", event.reason)
    promote.set_champion(tx, deployment, version, event.reason)


@reaction("monitoring.window_closed", "monitoring.window_settled")
def consider_retrain(tx: Tx, event: Event) -> None:
    """Every window is a chance for the retrain policy."""
    retrain.consider(tx, str(event.payload["deployment"]))


def deployments_of(tx: Tx, model: str) -> list[DeploymentSpec]:
    """Return the applied deployments of a model."""
    found = sql.newest_spec(tx.connection, tx.project)
    specs = [] if found is None else found[2].deployments
    return [spec for spec in specs if spec.model == model and not spec.is_external]
