"""Every statement of the registry."""

from sqlalchemy import delete, func, insert, select, update

from loopwright.registry.tables import aliases, gate_reports, model_versions, models
from loopwright.registry.types import Alias, GateReport, Model, ModelVersion
from loopwright.store.rows import read_row, row_of
from loopwright.store.sql import last_deleted_version, upsert
from loopwright.store.tx import Tx


def lock_model(tx: Tx, model: str, wall_us: int) -> None:
    """Make the model's row if it is new and keep others who register away until the commit."""
    # Numbers go on where those of a model of this name ended that was deleted: each is given once.
    taken = last_deleted_version(tx, "model", model)
    row = {"project_id": tx.project, "model": model, "versions": taken, "recorded_at": wall_us}
    upsert(tx.connection, models, [row], key=("project_id", "model"), do_update=False)
    chosen = select(models.c.model).where(models.c.project_id == tx.project, models.c.model == model)
    tx.execute(chosen.with_for_update())


def next_version(tx: Tx, model: str) -> int:
    """Take the next version number of a locked model."""
    chosen = (models.c.project_id == tx.project, models.c.model == model)
    tx.execute(update(models).where(*chosen).values(versions=models.c.versions + 1))
    return int(tx.execute(select(models.c.versions).where(*chosen)).scalar_one())


def insert_version(tx: Tx, version: ModelVersion, token: str | None) -> None:
    """Add a version."""
    tx.execute(insert(model_versions), row_of(tx, model_versions, version, token=token))


def find_version(tx: Tx, model: str, *, version: int | None = None, token: str | None = None) -> ModelVersion | None:
    """Return a version by number, by the token it was registered under, or the newest one."""
    v = model_versions
    statement = select(v).where(v.c.project_id == tx.project, v.c.model == model)
    if version is not None:
        statement = statement.where(v.c.version == version)
    if token is not None:
        statement = statement.where(v.c.token == token)
    row = tx.execute(statement.order_by(v.c.version.desc()).limit(1)).first()
    return None if row is None else read_row(row, ModelVersion)


def list_versions(tx: Tx, model: str, *, before: int | None = None, limit: int = 100) -> list[ModelVersion]:
    """Return versions, newest first."""
    v = model_versions
    statement = select(v).where(v.c.project_id == tx.project, v.c.model == model)
    if before is not None:
        statement = statement.where(v.c.version < before)
    return [read_row(row, ModelVersion) for row in tx.execute(statement.order_by(v.c.version.desc()).limit(limit))]


def list_models(tx: Tx) -> list[Model]:
    """Return every model by name, with its newest version and its aliases."""
    v = model_versions
    recorded_at, event_at = func.max(v.c.recorded_at).label("recorded_at"), func.max(v.c.event_at).label("event_at")
    statement = select(v.c.model, recorded_at, event_at).where(v.c.project_id == tx.project).group_by(v.c.model)
    newest = {row.model: row for row in tx.execute(statement)}
    named: dict[str, dict[str, int]] = {}
    for alias in list_aliases(tx):
        named.setdefault(alias.model, {})[alias.alias] = alias.version
    rows = tx.execute(select(models).where(models.c.project_id == tx.project).order_by(models.c.model))
    return [
        Model(row.model, row.versions, named.get(row.model, {}), last.recorded_at, last.event_at)
        for row in rows
        if (last := newest.get(row.model)) is not None
    ]


def find_alias(tx: Tx, model: str, alias: str) -> Alias | None:
    """Return one alias."""
    a = aliases
    row = tx.execute(select(a).where(a.c.project_id == tx.project, a.c.model == model, a.c.alias == alias)).first()
    return None if row is None else read_row(row, Alias)


def list_aliases(tx: Tx, model: str | None = None) -> list[Alias]:
    """Return aliases by model and name."""
    a = aliases
    statement = select(a).where(a.c.project_id == tx.project).order_by(a.c.model, a.c.alias)
    if model is not None:
        statement = statement.where(a.c.model == model)
    return [read_row(row, Alias) for row in tx.execute(statement)]


def upsert_alias(tx: Tx, alias: Alias) -> None:
    """Point an alias to a version."""
    upsert(tx.connection, aliases, [row_of(tx, aliases, alias)], key=("project_id", "model", "alias"), do_update=True)


def delete_alias(tx: Tx, model: str, alias: str) -> None:
    """Drop an alias."""
    a = aliases
    tx.execute(delete(a).where(a.c.project_id == tx.project, a.c.model == model, a.c.alias == alias))


def insert_report(tx: Tx, report: GateReport) -> None:
    """Add a gate report."""
    tx.execute(insert(gate_reports), row_of(tx, gate_reports, report))


def list_reports(tx: Tx, model: str, version: int, *, limit: int) -> list[GateReport]:
    """Return the gate reports of a version, newest first."""
    g = gate_reports
    statement = select(g).where(g.c.project_id == tx.project, g.c.model == model, g.c.version == version)
    rows = tx.execute(statement.order_by(g.c.report_id.desc()).limit(limit))
    return [read_row(row, GateReport) for row in rows]
