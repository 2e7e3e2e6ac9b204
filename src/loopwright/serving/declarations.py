"""The verb that declares a deployment, and the rules a declaration obeys."""

from loopwright.kernel.clock import MINUTE_US, format_duration
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.plugins import plugin_names
from loopwright.kernel.refs import check_name
from loopwright.kernel.verbs import verb
from loopwright.serving import sql
from loopwright.serving.events import DeploymentDeclared
from loopwright.serving.releases import refresh
from loopwright.serving.rollouts.planning import check_steps
from loopwright.serving.types import CANDIDATE, CHAMPION, Deployment, DeploymentSpec
from loopwright.store.tx import Tx

SHORTEST_TIMEOUT_US, LONGEST_TIMEOUT_US = 10_000, 10 * MINUTE_US


@verb("serving.declare", changes=Deployment)
def declare(tx: Tx, *, spec: DeploymentSpec, reason: str = "") -> Deployment:
    """Declare a deployment; the same declaration again changes nothing.

    What gateways must know (followed aliases, the sticky field, personal columns) is released at once; a rollout that
    is live keeps the steps it started with.
    """
    _check(spec)
    found = sql.find_deployment(tx.connection, tx.project, spec.name, lock=True)
    if found is not None and found.spec == spec:
        return found
    if found is not None:
        _check_change(found.spec, spec)
    made = Deployment(tx.project, spec.name, spec, tx.now_us, tx.wall_us)
    sql.put_deployment(tx.connection, made)
    facts = DeploymentDeclared(spec.name, spec.model, spec.is_external)
    tx.emit(facts, tx.ref("deployment", spec.name), reason=reason)
    if found is not None and not spec.is_external:
        refresh(tx, deployment=spec.name, reason="its declaration changed")
    return made


def _check(spec: DeploymentSpec) -> None:
    check_name(spec.name, "spec.name")
    check_name(spec.model, "spec.model")
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
