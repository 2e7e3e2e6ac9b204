"""Every statement of the registry."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from loopwright.registry.tables import aliases, gate_reports, model_versions, models
from loopwright.registry.types import Alias, GateReport, Model, ModelVersion
from loopwright.store.sql import upsert


def lock_model(connection: Connection, project: str, model: str, wall_us: int) -> None:
    """Make the model's row if it is new and keep others who register away until the commit."""
    row = {"project_id": project, "model": model, "versions": 0, "recorded_at": wall_us}
    upsert(connection, models, [row], key=("project_id", "model"), do_update=False)
    chosen = select(models.c.model).where(models.c.project_id == project, models.c.model == model)
    connection.execute(chosen.with_for_update())


def next_version(connection: Connection, project: str, model: str) -> int:
    """Take the next version number of a locked model."""
    chosen = (models.c.project_id == project, models.c.model == model)
    connection.execute(update(models).where(*chosen).values(versions=models.c.versions + 1))
    return int(connection.execute(select(models.c.versions).where(*chosen)).scalar_one())


def insert_version(connection: Connection, project: str, version: ModelVersion, token: str | None) -> None:
    """Add a version."""
    values = {name: getattr(version, name) for name in version.__struct_fields__}
    connection.execute(insert(model_versions), {"project_id": project, "token": token, **values})


def find_version(
    connection: Connection, project: str, model: str, *, version: int | None = None, token: str | None = None
) -> ModelVersion | None:
    """Return a version by number, by the token it was registered under, or the newest one."""
    v = model_versions
    statement = select(v).where(v.c.project_id == project, v.c.model == model)
    if version is not None:
        statement = statement.where(v.c.version == version)
    if token is not None:
        statement = statement.where(v.c.token == token)
    row = connection.execute(statement.order_by(v.c.version.desc()).limit(1)).first()
    return None if row is None else _version(row)


def list_versions(
    connection: Connection, project: str, model: str, *, before: int | None = None, limit: int = 100
) -> list[ModelVersion]:
    """Return versions, newest first."""
    v = model_versions
    statement = select(v).where(v.c.project_id == project, v.c.model == model)
    if before is not None:
        statement = statement.where(v.c.version < before)
    return [_version(row) for row in connection.execute(statement.order_by(v.c.version.desc()).limit(limit))]


def _version(row: Row[Any]) -> ModelVersion:
    return msgspec.convert(_fields(row, "project_id", "token"), type=ModelVersion)


def _fields(row: Row[Any], *left_out: str) -> dict[str, Any]:
    # SQLAlchemy's quoted names are a subclass of str that msgspec does not take for one.
    return {str(name): value for name, value in row._mapping.items() if name not in left_out}


def list_models(connection: Connection, project: str) -> list[Model]:
    """Return every model by name, with its newest version and its aliases."""
    v = model_versions
    last = func.max(v.c.recorded_at).label("last")
    statement = select(v.c.model, last).where(v.c.project_id == project).group_by(v.c.model)
    newest = {row.model: row.last for row in connection.execute(statement)}
    named: dict[str, dict[str, int]] = {}
    for alias in list_aliases(connection, project):
        named.setdefault(alias.model, {})[alias.alias] = alias.version
    rows = connection.execute(select(models).where(models.c.project_id == project).order_by(models.c.model))
    return [
        Model(row.model, row.versions, named.get(row.model, {}), newest[row.model])
        for row in rows
        if row.model in newest
    ]


def find_alias(connection: Connection, project: str, model: str, alias: str) -> Alias | None:
    """Return one alias."""
    a = aliases
    row = connection.execute(select(a).where(a.c.project_id == project, a.c.model == model, a.c.alias == alias)).first()
    return None if row is None else Alias(row.model, row.alias, row.version)


def list_aliases(connection: Connection, project: str, model: str | None = None) -> list[Alias]:
    """Return aliases by model and name."""
    a = aliases
    statement = select(a).where(a.c.project_id == project).order_by(a.c.model, a.c.alias)
    if model is not None:
        statement = statement.where(a.c.model == model)
    return [Alias(row.model, row.alias, row.version) for row in connection.execute(statement)]


def upsert_alias(connection: Connection, project: str, alias: Alias) -> None:
    """Point an alias to a version."""
    row = {"project_id": project, "model": alias.model, "alias": alias.alias, "version": alias.version}
    upsert(connection, aliases, [row], key=("project_id", "model", "alias"), do_update=True)


def delete_alias(connection: Connection, project: str, model: str, alias: str) -> None:
    """Drop an alias."""
    a = aliases
    connection.execute(delete(a).where(a.c.project_id == project, a.c.model == model, a.c.alias == alias))


def insert_report(connection: Connection, project: str, report: GateReport) -> None:
    """Add a gate report."""
    values = {name: getattr(report, name) for name in report.__struct_fields__}
    connection.execute(insert(gate_reports), {"project_id": project, **values})


def list_reports(connection: Connection, project: str, model: str, version: int, *, limit: int) -> list[GateReport]:
    """Return the gate reports of a version, newest first."""
    g = gate_reports
    statement = select(g).where(g.c.project_id == project, g.c.model == model, g.c.version == version)
    rows = connection.execute(statement.order_by(g.c.report_id.desc()).limit(limit))
    return [msgspec.convert(_fields(row, "project_id"), type=GateReport) for row in rows]
