"""Every statement of features."""

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from loopwright.features.tables import definitions, materializations, plans, training_sets
from loopwright.features.types import Definition, FeaturePlan, Materialization, TrainingSetSpec, TrainingSetVersion
from loopwright.kernel.documents import convert
from loopwright.store.sql import upsert


def put_definition(connection: Connection, project: str, definition: Definition) -> None:
    """Keep a declaration in place of the one of the same kind and name."""
    row = {"project_id": project, **_fields(definition)}
    upsert(connection, definitions, [row], key=("project_id", "kind", "name"), do_update=True)


def find_definition(connection: Connection, project: str, kind: str, name: str) -> Definition | None:
    """Return one declaration."""
    statement = select(definitions).where(
        definitions.c.project_id == project, definitions.c.kind == kind, definitions.c.name == name
    )
    row = connection.execute(statement).first()
    return None if row is None else Definition(**_values(row))


def list_definitions(connection: Connection, project: str, kind: str | None = None) -> list[Definition]:
    """Return declarations by kind and name."""
    statement = select(definitions).where(definitions.c.project_id == project)
    if kind is not None:
        statement = statement.where(definitions.c.kind == kind)
    rows = connection.execute(statement.order_by(definitions.c.kind, definitions.c.name))
    return [Definition(**_values(row)) for row in rows]


def insert_plan(
    connection: Connection, project: str, digest: str, meaning: str, plan: FeaturePlan, wall_us: int
) -> None:
    """Keep a plan under its digest; the same again changes nothing."""
    row = {
        "project_id": project,
        "digest": digest,
        "service": plan.service,
        "meaning": meaning,
        "plan": plan,
        "recorded_at": wall_us,
    }
    upsert(connection, plans, [row], key=("project_id", "digest"), do_update=False)


def find_plan(connection: Connection, project: str, digest: str) -> FeaturePlan | None:
    """Return one plan by digest."""
    statement = select(plans.c.plan).where(plans.c.project_id == project, plans.c.digest == digest)
    row = connection.execute(statement).first()
    return None if row is None else convert(row.plan, FeaturePlan)


def find_plan_by_meaning(connection: Connection, project: str, meaning: str) -> str | None:
    """Return the digest of the first plan that means the same."""
    statement = select(plans.c.digest).where(plans.c.project_id == project, plans.c.meaning == meaning)
    return connection.execute(statement.order_by(plans.c.recorded_at, plans.c.digest).limit(1)).scalar()


def next_training_set(connection: Connection, project: str, service: str) -> int:
    """Return the number of a service's next training set."""
    statement = select(func.max(training_sets.c.version)).where(
        training_sets.c.project_id == project, training_sets.c.service == service
    )
    return int(connection.execute(statement).scalar() or 0) + 1


def insert_training_set(connection: Connection, project: str, recorded: TrainingSetVersion) -> None:
    """Add one version."""
    connection.execute(insert(training_sets), {"project_id": project, **_fields(recorded)})


def list_training_sets(
    connection: Connection,
    project: str,
    service: str,
    *,
    version: int | None = None,
    digest: str | None = None,
    limit: int = 1000,
) -> list[TrainingSetVersion]:
    """Return the training sets of a service, newest first."""
    statement = select(training_sets).where(training_sets.c.project_id == project, training_sets.c.service == service)
    if version is not None:
        statement = statement.where(training_sets.c.version == version)
    if digest is not None:
        statement = statement.where(training_sets.c.digest == digest)
    rows = connection.execute(statement.order_by(training_sets.c.version.desc()).limit(limit))
    return [_training_set(row) for row in rows]


def insert_materialization(connection: Connection, project: str, filled: Materialization) -> None:
    """Add one fill by its job; the same again changes nothing."""
    row = {"project_id": project, **_fields(filled)}
    upsert(connection, materializations, [row], key=("project_id", "job_id"), do_update=False)


def find_materialization(connection: Connection, project: str, job_id: str) -> Materialization | None:
    """Return the fill that a job made."""
    statement = select(materializations).where(
        materializations.c.project_id == project, materializations.c.job_id == job_id
    )
    row = connection.execute(statement).first()
    return None if row is None else Materialization(**_values(row))


def list_materializations(connection: Connection, project: str, view: str | None, limit: int) -> list[Materialization]:
    """Return fills, newest first."""
    statement = select(materializations).where(materializations.c.project_id == project)
    if view is not None:
        statement = statement.where(materializations.c.view == view)
    order = (materializations.c.recorded_at.desc(), materializations.c.job_id.desc())
    return [Materialization(**_values(row)) for row in connection.execute(statement.order_by(*order).limit(limit))]


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _values(row: Row[Any]) -> dict[str, Any]:
    values = dict(row._mapping)
    values.pop("project_id")
    return values


def _training_set(row: Row[Any]) -> TrainingSetVersion:
    values = _values(row)
    return TrainingSetVersion(spec=convert(values.pop("spec"), TrainingSetSpec), **values)
