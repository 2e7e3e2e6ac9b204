"""Every statement of serving."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, delete, exists, func, insert, select, text

from loopwright.governance import SYSTEM
from loopwright.serving.tables import deployments, gateways, looks, releases, rollouts
from loopwright.serving.types import (
    LIVE_STATES,
    Deployment,
    DeploymentSpec,
    GatewayLease,
    Look,
    Release,
    ReleaseFailure,
    Rollout,
    StepVerdict,
    Trouble,
    champion_of,
)
from loopwright.store.sql import get_cursor, set_cursor, update_as_read, upsert
from loopwright.store.tx import Tx

_POSITION_LOCK = 7_305_991
"""Advisory lock under which PostgreSQL hands out release positions, so that they become visible in order."""

_POSITIONS = "releases"
"""The cursor that holds the last position that was given out."""


def find_deployment(tx: Tx, name: str, *, lock: bool = False) -> Deployment | None:
    """Return one deployment; ``lock`` keeps other writers of it waiting until the end of the transaction."""
    statement = select(deployments).where(deployments.c.project_id == tx.project, deployments.c.name == name)
    row = tx.execute(statement.with_for_update() if lock else statement).first()
    return None if row is None else _deployment(row)


def list_deployments(tx: Tx, *, model: str | None = None) -> list[Deployment]:
    """Return the deployments of the project by name."""
    statement = select(deployments).where(deployments.c.project_id == tx.project)
    if model is not None:
        statement = statement.where(deployments.c.model == model)
    return [_deployment(row) for row in tx.execute(statement.order_by(deployments.c.name))]


def every_deployment(connection: Connection) -> list[Deployment]:
    """Return the deployments of every project, for the gateways."""
    statement = select(deployments).order_by(deployments.c.project_id, deployments.c.name)
    return [_deployment(row) for row in connection.execute(statement)]


def put_deployment(tx: Tx, deployment: Deployment) -> None:
    """Add a deployment or replace its declaration."""
    row = {
        "project_id": deployment.project,
        "name": deployment.name,
        "model": deployment.spec.model,
        "spec": deployment.spec,
        "event_at": deployment.event_at,
        "recorded_at": deployment.recorded_at,
    }
    upsert(tx.connection, deployments, [row], key=("project_id", "name"), do_update=True)


def _deployment(row: Row[Any]) -> Deployment:
    spec = msgspec.convert(row.spec, DeploymentSpec)
    return Deployment(row.project_id, row.name, spec, row.event_at, row.recorded_at)


def next_position(connection: Connection) -> int:
    """Return the next release position of the whole server and keep it until the end of the transaction.

    It never goes back, although the newest releases may have gone with their project: gateways ask for what is beyond
    the last one they heard of.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSITION_LOCK})
    known = connection.execute(select(func.max(releases.c.position))).scalar() or 0
    heard_of = connection.execute(select(func.max(gateways.c.acknowledged))).scalar() or 0
    position = max(known, heard_of, get_cursor(connection, _POSITIONS)) + 1
    set_cursor(connection, _POSITIONS, position)
    return position


def insert_release(tx: Tx, release: Release, *, is_rollback: bool) -> None:
    """Add a release."""
    row = {
        "project_id": release.project,
        "deployment": release.deployment,
        "number": release.number,
        "position": release.position,
        "champion": champion_of(release).version,
        "is_rollback": int(is_rollback),
        "rollout_id": release.rollout_id,
        "document": release,
        "recorded_at": release.recorded_at,
    }
    tx.execute(insert(releases), row)


def find_release(tx: Tx, deployment: str, number: int | None = None) -> Release | None:
    """Return one release; by default the one that serves, so None once the newest one ended the endpoint."""
    if number is None:
        newest = newest_release(tx, deployment)
        return None if newest is None or newest.is_retired else newest
    statement = select(releases.c.document).where(
        releases.c.project_id == tx.project, releases.c.deployment == deployment
    )
    row = tx.execute(statement.where(releases.c.number == number)).first()
    return None if row is None else msgspec.convert(row.document, Release)


def newest_release(tx: Tx, deployment: str) -> Release | None:
    """Return the newest release, also one that ended the endpoint."""
    return next(iter(list_releases(tx, deployment, limit=1)), None)


def list_releases(tx: Tx, deployment: str, *, limit: int) -> list[Release]:
    """Return the releases of a deployment, newest first."""
    statement = (
        select(releases.c.document)
        .where(releases.c.project_id == tx.project, releases.c.deployment == deployment)
        .order_by(releases.c.number.desc())
        .limit(limit)
    )
    return [msgspec.convert(row.document, Release) for row in tx.execute(statement)]


def champions(tx: Tx, deployment: str) -> list[tuple[int, bool]]:
    """Return (champion's version, was it a rollback) of every release of a deployment, oldest first."""
    statement = (
        select(releases.c.champion, releases.c.is_rollback)
        .where(releases.c.project_id == tx.project, releases.c.deployment == deployment)
        .order_by(releases.c.number)
    )
    return [(row.champion, bool(row.is_rollback)) for row in tx.execute(statement)]


_beyond = (
    select(releases.c.project_id, releases.c.deployment, func.max(releases.c.number).label("number"))
    .where(releases.c.position > bindparam("position"))
    .group_by(releases.c.project_id, releases.c.deployment)
    .subquery()
)
_is_newest = and_(
    releases.c.project_id == _beyond.c.project_id,
    releases.c.deployment == _beyond.c.deployment,
    releases.c.number == _beyond.c.number,
)
_newest_beyond = select(releases.c.document).join(_beyond, _is_newest).order_by(releases.c.position)


def newest_releases(connection: Connection, position: int) -> list[Release]:
    """Return the newest release of each deployment of every project, those beyond a position, in their order."""
    result = connection.execute(_newest_beyond, {"position": position})
    return [msgspec.convert(row.document, Release) for row in result]


_is_gateway = gateways.c.project_id == SYSTEM
"""Gateways serve every project: their rows stand above them, whoever asks."""
_newest = select(func.max(releases.c.position)).where(releases.c.project_id == bindparam("project"))
_is_behind = select(
    exists().where(
        _is_gateway,
        gateways.c.lease_until > bindparam("wall_us"),
        gateways.c.acknowledged < func.coalesce(_newest.scalar_subquery(), 0),
    )
)


def is_behind(tx: Tx) -> bool:
    """Say whether a live gateway has not yet taken up the newest release of the project."""
    values = {"project": tx.project, "wall_us": tx.wall_us}
    return bool(tx.execute(_is_behind, values).scalar_one())


def insert_rollout(tx: Tx, rollout: Rollout) -> None:
    """Add a rollout."""
    values = {name: getattr(rollout, name) for name in rollout.__struct_fields__}
    tx.execute(insert(rollouts), {"project_id": tx.project, **values})


def find_rollout(tx: Tx, rollout_id: str) -> Rollout | None:
    """Return one rollout."""
    statement = select(rollouts).where(rollouts.c.project_id == tx.project, rollouts.c.rollout_id == rollout_id)
    row = tx.execute(statement).first()
    return None if row is None else _rollout(row)


def live_rollout(tx: Tx, deployment: str) -> Rollout | None:
    """Return the rollout of a deployment that is not over."""
    statement = select(rollouts).where(
        rollouts.c.project_id == tx.project, rollouts.c.deployment == deployment, rollouts.c.state.in_(LIVE_STATES)
    )
    row = tx.execute(statement.order_by(rollouts.c.rollout_id.desc()).limit(1)).first()
    return None if row is None else _rollout(row)


def list_rollouts(tx: Tx, *, deployment: str | None = None, limit: int = 100) -> list[Rollout]:
    """Return rollouts, newest first."""
    statement = select(rollouts).where(rollouts.c.project_id == tx.project)
    if deployment is not None:
        statement = statement.where(rollouts.c.deployment == deployment)
    return [_rollout(row) for row in tx.execute(statement.order_by(rollouts.c.rollout_id.desc()).limit(limit))]


def update_rollout(tx: Tx, rollout: Rollout, **values: Any) -> None:
    """Change columns of one rollout that is still in the same state.

    Raises:
        Conflict: It is not.
    """
    key = {"project_id": tx.project, "rollout_id": rollout.rollout_id}
    update_as_read(tx.connection, rollouts, key, seen={"state": rollout.state}, values=values)


def _rollout(row: Row[Any]) -> Rollout:
    return msgspec.convert({name: getattr(row, name) for name in Rollout.__struct_fields__}, Rollout)


def insert_look(tx: Tx, look: Look) -> bool:
    """Keep what a look found; return False if that look is already kept."""
    is_same = and_(
        looks.c.project_id == tx.project,
        looks.c.rollout_id == look.rollout_id,
        looks.c.step == look.step,
        looks.c.look == look.look,
    )
    if tx.execute(select(looks.c.look).where(is_same)).first() is not None:
        return False
    values = {name: getattr(look, name) for name in look.__struct_fields__}
    tx.execute(insert(looks), {"project_id": tx.project, **values})
    return True


def list_looks(tx: Tx, rollout_id: str) -> list[Look]:
    """Return every look at a rollout, in order."""
    statement = select(looks).where(looks.c.project_id == tx.project, looks.c.rollout_id == rollout_id)
    result = tx.execute(statement.order_by(looks.c.step, looks.c.look))
    return [
        Look(row.rollout_id, row.step, row.look, msgspec.convert(row.verdicts, list[StepVerdict]), row.event_at)
        for row in result
    ]


def put_gateway(tx: Tx, lease: GatewayLease) -> None:
    """Add or renew the lease of a gateway."""
    values = {name: getattr(lease, name) for name in lease.__struct_fields__}
    upsert(tx.connection, gateways, [{"project_id": SYSTEM, **values}], key=("project_id", "gateway"), do_update=True)


_acknowledged_by = select(gateways.c.acknowledged).where(_is_gateway, gateways.c.gateway == bindparam("gateway"))


def acknowledged_by(tx: Tx, gateway: str) -> int | None:
    """Return the position that one gateway last acknowledged, None where it is not known."""
    return tx.execute(_acknowledged_by, {"gateway": gateway}).scalar()


_last_lease = select(func.max(gateways.c.lease_until)).where(_is_gateway)


def last_lease(tx: Tx) -> int | None:
    """Return when the lease of the gateway that was heard of last ends, or ended; None where none is known."""
    return tx.execute(_last_lease).scalar()


def forget_gateways(tx: Tx, before_us: int) -> int:
    """Drop the leases that ended before a moment and return how many; the last one stays, to say when it was."""
    newest = last_lease(tx)
    if newest is None:
        return 0
    ended = delete(gateways).where(_is_gateway, gateways.c.lease_until < before_us)
    return tx.execute(ended.where(gateways.c.lease_until < newest)).rowcount


_list_gateways = (
    select(gateways).where(_is_gateway, gateways.c.lease_until > bindparam("after_us")).order_by(gateways.c.gateway)
)


def list_gateways(tx: Tx, *, alive_at: int = 0) -> list[GatewayLease]:
    """Return the gateways whose lease goes beyond a moment, by name; every one that is known where none is given."""
    return [
        GatewayLease(
            row.gateway,
            row.address,
            row.acknowledged,
            row.lease_until,
            msgspec.convert(row.failures or [], list[ReleaseFailure]),
            msgspec.convert(row.troubles or [], list[Trouble]),
        )
        for row in tx.execute(_list_gateways, {"after_us": alive_at})
    ]
