"""Every statement of features."""

from collections.abc import Sequence

from sqlalchemy import delete, func, insert, select

from loopwright.features.tables import definitions, materializations, plans, training_sets
from loopwright.features.types import Definition, FeaturePlan, Materialization, TrainingSetVersion
from loopwright.kernel.documents import convert
from loopwright.store.rows import read_row, row_of
from loopwright.store.sql import last_deleted_version, upsert
from loopwright.store.tx import Tx


def put_definition(tx: Tx, definition: Definition) -> None:
    """Keep a declaration in place of the one of the same kind and name."""
    upsert(
        tx.connection,
        definitions,
        [row_of(tx, definitions, definition)],
        key=("project_id", "kind", "name"),
        do_update=True,
    )


def find_definition(tx: Tx, kind: str, name: str) -> Definition | None:
    """Return one declaration."""
    statement = select(definitions).where(
        definitions.c.project_id == tx.project, definitions.c.kind == kind, definitions.c.name == name
    )
    row = tx.execute(statement).first()
    return None if row is None else read_row(row, Definition)


def list_definitions(tx: Tx, kind: str | None = None) -> list[Definition]:
    """Return declarations by kind and name."""
    statement = select(definitions).where(definitions.c.project_id == tx.project)
    if kind is not None:
        statement = statement.where(definitions.c.kind == kind)
    rows = tx.execute(statement.order_by(definitions.c.kind, definitions.c.name))
    return [read_row(row, Definition) for row in rows]


def insert_plan(tx: Tx, digest: str, meaning: str, plan: FeaturePlan, wall_us: int) -> None:
    """Keep a plan under its digest; the same again changes nothing."""
    row = {
        "project_id": tx.project,
        "digest": digest,
        "service": plan.service,
        "meaning": meaning,
        "plan": plan,
        "recorded_at": wall_us,
    }
    upsert(tx.connection, plans, [row], key=("project_id", "digest"), do_update=False)


def find_plan(tx: Tx, digest: str) -> FeaturePlan | None:
    """Return one plan by digest."""
    statement = select(plans.c.plan).where(plans.c.project_id == tx.project, plans.c.digest == digest)
    row = tx.execute(statement).first()
    return None if row is None else convert(row.plan, FeaturePlan)


def find_plan_by_meaning(tx: Tx, meaning: str) -> str | None:
    """Return the digest of the first plan that means the same."""
    statement = select(plans.c.digest).where(plans.c.project_id == tx.project, plans.c.meaning == meaning)
    return tx.execute(statement.order_by(plans.c.recorded_at, plans.c.digest).limit(1)).scalar()


def next_training_set(tx: Tx, service: str) -> int:
    """Return the number of a service's next training set."""
    statement = select(func.max(training_sets.c.version)).where(
        training_sets.c.project_id == tx.project, training_sets.c.service == service
    )
    last = int(tx.execute(statement).scalar() or 0)
    return max(last, last_deleted_version(tx, "training_set", service)) + 1


def insert_training_set(tx: Tx, recorded: TrainingSetVersion) -> None:
    """Add one version."""
    tx.execute(insert(training_sets), row_of(tx, training_sets, recorded))


def list_training_sets(
    tx: Tx,
    service: str,
    *,
    version: int | None = None,
    digest: str | None = None,
    limit: int = 1000,
) -> list[TrainingSetVersion]:
    """Return the training sets of a service, newest first."""
    statement = select(training_sets).where(
        training_sets.c.project_id == tx.project, training_sets.c.service == service
    )
    if version is not None:
        statement = statement.where(training_sets.c.version == version)
    if digest is not None:
        statement = statement.where(training_sets.c.digest == digest)
    rows = tx.execute(statement.order_by(training_sets.c.version.desc()).limit(limit))
    return [read_row(row, TrainingSetVersion) for row in rows]


def insert_materialization(tx: Tx, filled: Materialization) -> None:
    """Add one fill by its job; the same again changes nothing."""
    row = row_of(tx, materializations, filled)
    upsert(tx.connection, materializations, [row], key=("project_id", "job_id"), do_update=False)


def find_materialization(tx: Tx, job_id: str) -> Materialization | None:
    """Return the fill that a job made."""
    statement = select(materializations).where(
        materializations.c.project_id == tx.project, materializations.c.job_id == job_id
    )
    row = tx.execute(statement).first()
    return None if row is None else read_row(row, Materialization)


def delete_materializations(tx: Tx, view_keys: Sequence[str]) -> None:
    """Drop the fills of views."""
    these = (materializations.c.project_id == tx.project, materializations.c.view_key.in_(list(view_keys)))
    tx.execute(delete(materializations).where(*these))


def filled_since(tx: Tx, recorded_at: int) -> set[str]:
    """Return the keys of the views that were filled since a moment of wall time."""
    m = materializations
    statement = select(m.c.view_key).where(m.c.project_id == tx.project, m.c.recorded_at >= recorded_at)
    return set(tx.connection.scalars(statement.distinct()))


def list_materializations(tx: Tx, view: str | None, limit: int) -> list[Materialization]:
    """Return fills, newest first."""
    statement = select(materializations).where(materializations.c.project_id == tx.project)
    if view is not None:
        statement = statement.where(materializations.c.view == view)
    order = (materializations.c.recorded_at.desc(), materializations.c.job_id.desc())
    return [read_row(row, Materialization) for row in tx.execute(statement.order_by(*order).limit(limit))]
