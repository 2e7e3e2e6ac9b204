"""Every statement of the loop."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from loopwright.kernel.documents import convert, to_builtins
from loopwright.loop.tables import applied_specs, reactions, retrains
from loopwright.loop.types import ProjectSpec, RetrainRecord
from loopwright.store.sql import upsert
from loopwright.store.tx import Tx


def newest_spec(connection: Connection, project: str) -> tuple[int, str, ProjectSpec] | None:
    """Return number, digest and content of the spec that was applied last."""
    statement = (
        select(applied_specs)
        .where(applied_specs.c.project_id == project)
        .order_by(applied_specs.c.number.desc())
        .limit(1)
    )
    row = connection.execute(statement).first()
    return None if row is None else (row.number, row.digest, convert(row.spec, ProjectSpec))


def insert_spec(tx: Tx, number: int, digest: str, spec: ProjectSpec) -> None:
    """Keep a spec as applied."""
    row = {
        "project_id": tx.project,
        "number": number,
        "digest": digest,
        "spec": to_builtins(spec),
        "applied_by": tx.actor,
        "recorded_at": tx.wall_us,
    }
    tx.execute(insert(applied_specs), row)


def take_reaction(tx: Tx, rule: str, position: int) -> bool:
    """Record that a rule answers an event; False if it already did."""
    row = {
        "rule": rule,
        "position": position,
        "project_id": tx.project,
        "outcome": "done",
        "recorded_at": tx.wall_us,
    }
    return upsert(tx.connection, reactions, [row], key=("rule", "position"), do_update=False) == 1


def record_failed_reaction(tx: Tx, rule: str, position: int, outcome: str) -> None:
    """Record that a rule failed on an event, so that it is not tried for ever."""
    row = {
        "rule": rule,
        "position": position,
        "project_id": tx.project,
        "outcome": outcome,
        "recorded_at": tx.wall_us,
    }
    upsert(tx.connection, reactions, [row], key=("rule", "position"), do_update=True)


def insert_retrain(tx: Tx, record: RetrainRecord) -> None:
    """Add a retrain that was started."""
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    tx.execute(insert(retrains), {"project_id": tx.project, **values})


def update_retrain(tx: Tx, retrain_id: str, **values: Any) -> None:
    """Change columns of a retrain."""
    statement = update(retrains).where(retrains.c.project_id == tx.project, retrains.c.retrain_id == retrain_id)
    tx.execute(statement.values(**values))


def list_retrains(
    connection: Connection,
    project: str,
    deployment: str | None = None,
    *,
    states: Sequence[str] = (),
    execution_id: str | None = None,
    version: int | None = None,
) -> list[RetrainRecord]:
    """Return the retrains, newest first."""
    statement = select(retrains).where(retrains.c.project_id == project)
    if deployment is not None:
        statement = statement.where(retrains.c.deployment == deployment)
    if states:
        statement = statement.where(retrains.c.state.in_(list(states)))
    if execution_id is not None:
        statement = statement.where(retrains.c.execution_id == execution_id)
    if version is not None:
        statement = statement.where(retrains.c.version == version)
    rows = connection.execute(statement.order_by(retrains.c.event_at.desc(), retrains.c.retrain_id.desc()))
    return [_retrain(row) for row in rows]


def _retrain(row: Row[Any]) -> RetrainRecord:
    values = dict(row._mapping)
    values.pop("project_id")
    return RetrainRecord(**values)
