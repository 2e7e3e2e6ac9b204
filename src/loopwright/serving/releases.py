"""Verbs of releases: the immutable documents gateways serve from."""

import msgspec

from loopwright import features, registry
from loopwright.governance import lineage, projects
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from loopwright.kernel.verbs import SERVER_ALONE, Role, query, verb
from loopwright.serving import sql
from loopwright.serving.deployments import lock_served
from loopwright.serving.events import Released, ReleasedVariant, Retired
from loopwright.serving.types import (
    CANDIDATE,
    CHAMPION,
    RELEASE_SCHEMA,
    Deployment,
    Release,
    Variant,
    candidate_of,
    champion_of,
)
from loopwright.store.tx import Tx

LIMITS = {"rows": 10_000, "body_bytes": 16 << 20}
"""Most rows and bytes of one request."""


class Shape(msgspec.Struct, frozen=True):
    """Who answers in a release: the champion, and a candidate with a weight (0..1) or unseen in shadow."""

    champion: int
    candidate: int | None = None
    weight: float = 0.0
    is_shadow: bool = False


def emit_release(
    tx: Tx, deployment: Deployment, shape: Shape, reason: str, *, rollout_id: str = "", is_rollback: bool = False
) -> Release:
    """Build, store and announce the next release of a deployment that is locked."""
    spec = deployment.spec
    newest = sql.newest_release(tx, spec.name)
    variants = _variants(tx, deployment, shape)
    plans = {variant.plan: features.plan(tx, digest=variant.plan) for variant in variants if variant.plan}
    release = Release(
        schema=RELEASE_SCHEMA,
        project=tx.project,
        deployment=spec.name,
        number=1 if newest is None else newest.number + 1,
        position=sql.next_position(tx.connection),
        task=spec.task,
        variants=variants,
        plans=plans,
        sticky=spec.sticky,
        personal=spec.personal,
        reason=reason,
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
        clock=projects.get(tx, name=tx.project).clock,
        rollout_id=rollout_id,
        limits=_limits(deployment),
    )
    sql.insert_release(tx, release, is_rollback=is_rollback)
    ref = tx.ref("release", spec.name, release.number)
    lineage.link(tx, ref, "serves", *sorted({tx.ref("model", v.model, v.version) for v in variants}))
    told = [ReleasedVariant(v.name, v.model, v.version, v.weight, v.is_shadow) for v in variants]
    facts = Released(spec.name, release.number, release.position, rollout_id, told, digest_of(to_builtins(release)))
    tx.emit(facts, ref, reason=reason)
    return release


def _limits(deployment: Deployment) -> dict[str, int]:
    timeout_us = deployment.spec.timeout_us
    return LIMITS if timeout_us is None else {**LIMITS, "timeout_ms": timeout_us // 1000}


def _variants(tx: Tx, deployment: Deployment, shape: Shape) -> list[Variant]:
    model = deployment.spec.model
    share = 0.0 if shape.candidate is None or shape.is_shadow else shape.weight
    found = [_variant(tx, deployment, CHAMPION, shape.champion, 1.0 - share)]
    if shape.candidate is not None:
        found.append(_variant(tx, deployment, CANDIDATE, shape.candidate, share, is_shadow=shape.is_shadow))
    followed = {alias.alias: alias.version for alias in registry.list_aliases(tx, model=model)}
    for alias in deployment.spec.follow:
        if alias in followed:
            found.append(_variant(tx, deployment, alias, followed[alias], 0.0, is_shadow=True))
    return found


def _variant(
    tx: Tx, deployment: Deployment, name: str, version: int, weight: float, *, is_shadow: bool = False
) -> Variant:
    spec = deployment.spec
    model_version = registry.get_version(tx, model=spec.model, version=version)
    if model_version.signature.task != spec.task:
        raise InvalidInput(
            f"version {version} of {spec.model} answers another task",
            field="version",
            value=model_version.signature.task,
            rule=f"deployment {spec.name} serves {spec.task}",
        )
    return Variant(
        name=name,
        model=model_version.model,
        version=model_version.version,
        flavour=model_version.flavour,
        files=model_version.files,
        signature=model_version.signature,
        weight=weight,
        is_shadow=is_shadow,
        digest=model_version.digest,
        plan=model_version.plan_digest,
    )


@verb("serving.release", changes=Release, internal=True, parts=SERVER_ALONE)
def release(
    tx: Tx,
    *,
    deployment: str,
    champion: int,
    candidate: int | None = None,
    weight: float = 0.0,
    is_shadow: bool = False,
    reason: str,
) -> Release:
    """Release versions at once, past any rollout; for what the platform itself has decided.

    Args:
        deployment: Its name.
        champion: The version that answers.
        candidate: A second version, if any.
        weight: Its share of traffic, 0..1.
        is_shadow: True to run the candidate unseen.
        reason: Why, in a sentence.
    """
    found = lock_served(tx, deployment)
    refuse_while_live(tx, deployment)
    if not 0.0 <= weight <= 1.0:
        raise InvalidInput("a weight is a share of traffic", field="weight", value=weight, rule="0 to 1")
    return emit_release(tx, found, Shape(champion, candidate, weight, is_shadow), reason)


@verb("serving.refresh", changes=Release, internal=True, parts=SERVER_ALONE)
def refresh(tx: Tx, *, deployment: str, reason: str) -> Release | None:
    """Release again what is served, with followed aliases and settings as they are now; None before a first release.

    Where nothing would change the newest release stays and is returned.
    """
    found = lock_served(tx, deployment)
    newest = sql.find_release(tx, deployment)
    if newest is None:
        return None
    shape = shape_of(newest)
    before = (newest.variants, newest.sticky, newest.personal, newest.limits)
    if before == (_variants(tx, found, shape), found.spec.sticky, found.spec.personal, _limits(found)):
        return newest
    return emit_release(tx, found, shape, reason, rollout_id=newest.rollout_id)


def shape_of(found: Release) -> Shape:
    """Return who answers in a release."""
    candidate = candidate_of(found)
    champion = champion_of(found).version
    if candidate is None:
        return Shape(champion)
    return Shape(champion, candidate.version, candidate.weight, candidate.is_shadow)


def refuse_while_live(tx: Tx, deployment: str) -> None:
    """Raise if a rollout of the deployment is live.

    Raises:
        Conflict: One is; the message names it.
    """
    live = sql.live_rollout(tx, deployment)
    if live is not None:
        next_step = f"wait for it, or abort it: loopwright rollback {deployment} --reason WHY"
        if live.state == "waiting_approval":
            next_step = "decide it: loopwright approve, or loopwright reject --reason WHY"
        raise Conflict(
            f"rollout {live.rollout_id} of version {live.version} is {live.state.replace('_', ' ')} on {deployment}",
            field="deployment",
            value=deployment,
            rule="one live rollout a deployment",
            next_step=next_step,
            details={"rollout_id": live.rollout_id},
        )


@verb("serving.retire", changes=Release, role=Role.APPROVER)
def retire(tx: Tx, *, deployment: str, reason: str) -> Release:
    """End an endpoint: gateways let its model go and refuse requests; labels of what it answered are still taken.

    Nothing is forgotten. No training brings it back by itself; a version that is deployed later is as a first one.

    Raises:
        Conflict: It serves nothing, or a rollout is live.
    """
    if not reason.strip():
        raise InvalidInput("the end of an endpoint needs a reason", field="reason", rule="at least one word")
    lock_served(tx, deployment)
    refuse_while_live(tx, deployment)
    last = sql.find_release(tx, deployment)
    if last is None:
        raise Conflict(f"{deployment} serves nothing", field="deployment", value=deployment)
    retired = msgspec.structs.replace(
        last,
        number=last.number + 1,
        position=sql.next_position(tx.connection),
        reason=reason,
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
        rollout_id="",
        is_retired=True,
    )
    sql.insert_release(tx, retired, is_rollback=False)
    answered = champion_of(last).version
    facts = Retired(deployment, retired.number, retired.position, answered, digest_of(to_builtins(retired)))
    tx.emit(facts, tx.ref("deployment", deployment), reason=reason)
    return retired


@query("serving.get_release")
def get_release(tx: Tx, *, deployment: str, number: int | None = None) -> Release:
    """Return one release of a deployment, by default the one that serves."""
    release = sql.find_release(tx, deployment, number)
    if release is None:
        what = "a release" if number is None else f"release {number}"
        raise NotFound(
            f"deployment {deployment} has no such release",
            field="number",
            value=number,
            rule=f"{what} must exist",
            next_step=f"loopwright deploy {deployment} --version N makes the first one",
        )
    return release


@query("serving.releases")
def list_releases(tx: Tx, *, deployment: str, limit: int = 100) -> list[Release]:
    """Return the releases of a deployment, newest first."""
    return sql.list_releases(tx, deployment, limit=min(limit, 1000))


@query("serving.releases_after", internal=True, parts=("gateway",), above_projects=True)
def releases_after(tx: Tx, *, position: int) -> list[Release]:
    """Return the newest release of each deployment of every project, those beyond ``position``, in order of position.

    A gateway that was away catches up in one call and remembers the last position.
    """
    return sql.newest_releases(tx.connection, position)
