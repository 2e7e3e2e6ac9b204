"""The verb that declares a deployment, and the rules a declaration obeys."""

from loopwright import registry
from loopwright.governance import Approval, Loosening, Weaker, loosening
from loopwright.kernel.bounds import MOST_COLUMNS, check_count
from loopwright.kernel.clock import MINUTE_US, format_duration
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.plugins import plugin_names
from loopwright.kernel.refs import check_name
from loopwright.kernel.tasks import check_task
from loopwright.kernel.verbs import verb
from loopwright.serving import sql
from loopwright.serving.events import DeploymentDeclared
from loopwright.serving.releases import refresh
from loopwright.serving.rollouts.planning import check_steps
from loopwright.serving.strictness import loosened, loosened_decisions
from loopwright.serving.types import CANDIDATE, CHAMPION, Deployment, DeploymentSpec
from loopwright.store.tx import Tx

MOST_OF_A_MODEL = 50
"""Deployments of one model beside a new one, which is held to the gates of all of them."""
SHORTEST_TIMEOUT_US, LONGEST_TIMEOUT_US = 10_000, 10 * MINUTE_US


@verb("serving.declare", changes=Deployment)
def declare(tx: Tx, *, spec: DeploymentSpec, reason: str = "") -> Deployment:
    """Declare a deployment; the same declaration again changes nothing.

    What gateways must know (followed aliases, the sticky field, personal columns) is released at once; a rollout that
    is live keeps the steps it started with.

    Raises:
        PermissionDenied: It would loosen a rule, and the caller is no approver and has no approval of this very change.
    """
    _check(spec)
    deployment = sql.find_deployment(tx, spec.name, lock=True)
    if deployment is not None and deployment.spec == spec:
        return deployment
    if deployment is not None:
        _check_change(deployment.spec, spec)
    loosening.require_allowed(tx, _loosening(tx, deployment, spec))
    made = Deployment(tx.project, spec.name, spec, tx.now_us, tx.wall_us)
    sql.put_deployment(tx, made)
    facts = DeploymentDeclared(spec.name, spec.model, spec.is_external, digest_of(to_builtins(spec)))
    tx.emit(facts, tx.ref("deployment", spec.name), reason=reason)
    if deployment is not None and not spec.is_external:
        refresh(tx, deployment=spec.name, reason="its declaration changed")
    return made


@verb("serving.ask_to_loosen", changes=Approval)
def ask_to_loosen(tx: Tx, *, spec: DeploymentSpec, reason: str) -> Approval:
    """Ask an approver to let a declaration pass that loosens rules; once approved, ``serving.declare`` takes it.

    Raises:
        InvalidInput: It loosens nothing, or says no reason.
    """
    _check(spec)
    before = sql.find_deployment(tx, spec.name, lock=True)
    allows_own = before is not None and before.spec.approve.allows_own
    return loosening.ask(tx, _loosening(tx, before, spec), reason, allows_own=allows_own)


def find_loosening(tx: Tx, spec: DeploymentSpec) -> Loosening:
    """Return what a declaration would loosen of what is declared now."""
    return _loosening(tx, sql.find_deployment(tx, spec.name), spec)


def _loosening(tx: Tx, before: Deployment | None, spec: DeploymentSpec) -> Loosening:
    known, declared_at = (None, None) if before is None else (before.spec, before.recorded_at)
    return Loosening(
        tx.ref("deployment", spec.name),
        spec.name,
        [Weaker("spec", told) for told in _loosened(tx, before, spec)],
        loosening.change_digest(known, declared_at, spec),
        "serving.ask_to_loosen",
    )


def _loosened(tx: Tx, before: Deployment | None, spec: DeploymentSpec) -> list[str]:
    """Return what falls away; a further deployment of a model decides for that model, so it binds as the others do."""
    if before is not None:
        return loosened(before.spec, spec)
    if spec.is_external:
        return []
    others = sql.list_deployments(tx, model=spec.model)
    check_count(others, "spec.model", MOST_OF_A_MODEL)
    return [
        f"{change} (as {deployment.name} has it)"
        for deployment in others
        if not deployment.spec.is_external
        for change in loosened_decisions(deployment.spec, spec)
    ]


def _check(spec: DeploymentSpec) -> None:
    check_name(spec.name, "spec.name")
    check_name(spec.model, "spec.model")
    check_task(spec.task, "spec.task")
    check_count(spec.rollout, "spec.rollout")
    check_count(spec.follow, "spec.follow")
    check_count(spec.personal, "spec.personal", MOST_COLUMNS)
    registry.check_specs(spec.gates, "spec.gates", task=spec.task)
    for alias in spec.follow:
        check_name(alias, "spec.follow")
        if alias in (CHAMPION, CANDIDATE):
            raise InvalidInput(
                "this alias cannot be followed", field="spec.follow", value=alias, rule=f"not {CHAMPION} or {CANDIDATE}"
            )
    if spec.timeout_us is not None and not SHORTEST_TIMEOUT_US <= spec.timeout_us <= LONGEST_TIMEOUT_US:
        raise InvalidInput(
            "this is no time-out of a request",
            field="spec.timeout_us",
            value=spec.timeout_us,
            rule=f"{format_duration(SHORTEST_TIMEOUT_US)} to {format_duration(LONGEST_TIMEOUT_US)}",
        )
    check_steps(spec.rollout, spec.task, set(plugin_names("guards")))


def _check_change(before: DeploymentSpec, after: DeploymentSpec) -> None:
    for field in ("model", "task", "is_external"):
        if getattr(before, field) != getattr(after, field):
            raise Conflict(
                f"a deployment keeps its {field.removeprefix('is_')}",
                field=f"spec.{field}",
                value=getattr(after, field),
                rule=f"it is {getattr(before, field)}",
                next_step="declare a deployment of another name",
            )
