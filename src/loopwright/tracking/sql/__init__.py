"""Every statement of tracking but for old points, and the compiler from the filter language to it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from loopwright.kernel.documents import to_json
from loopwright.kernel.filters import Comparison, Conjunction, Disjunction, Field, Filter, Negation, Scalar
from loopwright.store.rows import read_row, row_of
from loopwright.store.sql import upsert
from loopwright.store.statements import Statement
from loopwright.store.tx import Tx
from loopwright.tracking.tables import metric_points, run_artifacts, run_metrics, run_params, run_tags, runs
from loopwright.tracking.types import Artifact, Experiment, MetricPoint, Run, name_non_finite

_GROUPS: dict[str, Table] = {"metrics": run_metrics, "params": run_params, "tags": run_tags}
_LOGGED = (run_params, run_tags, run_metrics, run_artifacts)
_RUNS_AT_ONCE = 500
_POINT_COLUMNS = ("project_id", "run_id", "key", "step", "at_us", "number")


def _is_run(table: Table) -> ColumnElement[bool]:
    """Return the condition of what belongs to the run that a statement is asked for."""
    return and_(table.c.project_id == bindparam("project"), table.c.run_id == bindparam("run"))


_insert_run = Statement(insert(runs), runs.c.keys())
_insert_points = Statement(insert(metric_points), _POINT_COLUMNS)
_add_point = Statement(
    insert(metric_points).from_select(
        _POINT_COLUMNS,
        select(runs.c.project_id, runs.c.run_id)
        .add_columns(*(bindparam(name, type_=metric_points.c[name].type) for name in _POINT_COLUMNS[2:]))
        .where(_is_run(runs), runs.c.state == "running"),
    )
)
_find_state = Statement(select(runs.c.state).where(_is_run(runs)))
_find_run = Statement(select(runs).where(_is_run(runs)))
_find_logged = {table.name: Statement(select(table).where(_is_run(table))) for table in _LOGGED}


def insert_run(tx: Tx, run: Run) -> None:
    """Add a run with its params and tags."""
    _insert_run.run(tx.connection, **row_of(tx, runs, run))
    insert_params(tx, run.run_id, run.params)
    upsert_tags(tx, run.run_id, run.tags)


def insert_params(tx: Tx, run_id: str, params: dict[str, Any]) -> None:
    """Add params; those that exist stay."""
    rows = [
        {
            "project_id": tx.project,
            "run_id": run_id,
            "key": key,
            "document": value,
            "text": value if isinstance(value, str) else to_json(value).decode(),
            "number": float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None,
        }
        for key, value in params.items()
    ]
    upsert(tx.connection, run_params, rows, key=("project_id", "run_id", "key"), do_update=False)


def upsert_tags(tx: Tx, run_id: str, tags: dict[str, str]) -> None:
    """Set tags, replacing those of the same name."""
    rows = [{"project_id": tx.project, "run_id": run_id, "key": key, "text": text} for key, text in tags.items()]
    upsert(tx.connection, run_tags, rows, key=("project_id", "run_id", "key"), do_update=True)


def add_point(tx: Tx, run_id: str, key: str, step: int, at_us: int, value: float) -> bool:
    """Append one point to a run that is running, and move its metric's last value; False if there is no such run."""
    point = {"key": key, "step": step, "at_us": at_us, "number": None if math.isnan(value) else value}
    if _add_point.run(tx.connection, project=tx.project, run=run_id, **point) == 0:
        return False
    _move_last_value(tx.connection.dialect.name).run(tx.connection, project_id=tx.project, run_id=run_id, **point)
    return True


def insert_points(tx: Tx, run_id: str, points: list[tuple[str, int, int, float]]) -> None:
    """Append points (key, step, at_us, value) and move each metric's last value, the one of the highest step."""
    if not points:
        return
    leading = {"project_id": tx.project, "run_id": run_id}
    rows = [
        {**leading, "key": key, "step": step, "at_us": at_us, "number": None if math.isnan(value) else value}
        for key, step, at_us, value in points
    ]
    _insert_points.run_each(tx.connection, rows)
    newest = {row["key"]: row for row in sorted(rows, key=lambda row: (row["step"], row["at_us"]))}
    _move_last_value(tx.connection.dialect.name).run_each(tx.connection, list(newest.values()))


@cache
def _move_last_value(dialect_name: str) -> Statement:
    """Return the upsert that keeps of each metric the point of the highest step, of equal ones the newest."""
    added: Any = (postgresql if dialect_name == "postgresql" else sqlite).insert(run_metrics)
    new, kept = added.excluded, run_metrics.c
    is_newer = or_(new.step > kept.step, and_(new.step == kept.step, new.at_us >= kept.at_us))
    changed = {"step": new.step, "at_us": new.at_us, "number": new.number}
    key = ["project_id", "run_id", "key"]
    return Statement(added.on_conflict_do_update(index_elements=key, set_=changed, where=is_newer), _POINT_COLUMNS)


def upsert_artifact(tx: Tx, run_id: str, artifact: Artifact) -> None:
    """Record a file of a run, replacing the one at the same path."""
    row = row_of(tx, run_artifacts, artifact, run_id=run_id)
    upsert(tx.connection, run_artifacts, [row], key=("project_id", "run_id", "path"), do_update=True)


def find_state(tx: Tx, run_id: str) -> str | None:
    """Return a run's state; None if there is no such run."""
    state: str | None = _find_state.scalar(tx.connection, project=tx.project, run=run_id)
    return state


def running_among(tx: Tx, run_ids: Sequence[str]) -> list[str]:
    """Return those of some runs that go on."""
    running: list[str] = []
    for first in range(0, len(run_ids), _RUNS_AT_ONCE):
        some = runs.c.run_id.in_(list(run_ids[first : first + _RUNS_AT_ONCE]))
        running += tx.connection.scalars(
            select(runs.c.run_id).where(runs.c.project_id == tx.project, some, runs.c.state == "running")
        )
    return running


def update_run(tx: Tx, run_id: str, **values: Any) -> None:
    """Change columns of a run."""
    tx.execute(update(runs).where(runs.c.project_id == tx.project, runs.c.run_id == run_id).values(**values))


def find_params(tx: Tx, run_id: str) -> dict[str, Any]:
    """Return the params of a run."""
    p = run_params
    statement = select(p.c.key, p.c.document).where(p.c.project_id == tx.project, p.c.run_id == run_id)
    return {row.key: row.document for row in tx.execute(statement)}


def find_run(tx: Tx, run_id: str) -> Run | None:
    """Return one run with everything logged to it."""
    place = {"project": tx.project, "run": run_id}
    row = _find_run.first(tx.connection, **place)
    if row is None:
        return None
    return _run(row, {name: find.all(tx.connection, **place) for name, find in _find_logged.items()})


def find_runs(tx: Tx, run_ids: Sequence[str]) -> list[Run]:
    """Return runs with everything logged to them, in the order of ``run_ids``; unknown ids are left out."""
    statement = select(runs).where(runs.c.project_id == tx.project, runs.c.run_id.in_(list(run_ids)))
    rows = {row.run_id: row for row in tx.execute(statement)}
    logged: dict[str, dict[str, list[Any]]] = {table.name: _by_run(tx, table, list(rows)) for table in _LOGGED}
    return [_run(rows[run_id], {name: logged[name][run_id] for name in logged}) for run_id in run_ids if run_id in rows]


def _by_run(tx: Tx, table: Table, run_ids: list[str]) -> dict[str, list[Row[Any]]]:
    by_run: dict[str, list[Row[Any]]] = defaultdict(list)
    if run_ids:
        column = table.c.path if table is run_artifacts else table.c.key
        statement = select(table).where(table.c.project_id == tx.project, table.c.run_id.in_(run_ids))
        # In the order of the primary key: by the name alone, SQLite would walk another index through every run.
        for row in tx.execute(statement.order_by(table.c.run_id, column)):
            by_run[row.run_id].append(row)
    return by_run


def _run(row: Row[Any], logged: dict[str, list[Any]]) -> Run:
    numbers = {metric.key: _number(metric.number) for metric in logged["run_metrics"]}
    non_finite = {key: name for key, value in numbers.items() if (name := name_non_finite(value)) is not None}
    return read_row(
        row,
        Run,
        params={param.key: param.document for param in logged["run_params"]},
        metrics={key: value for key, value in numbers.items() if key not in non_finite},
        tags={tag.key: tag.text for tag in logged["run_tags"]},
        artifacts=[read_row(artifact, Artifact) for artifact in logged["run_artifacts"]],
        non_finite=non_finite,
    )


def _number(stored: float | None) -> float:
    """Return a value as it was logged; NULL is NaN, because SQLite stores it so and comparisons then agree."""
    return math.nan if stored is None else stored


def find_points(tx: Tx, run_id: str, key: str, *, after: tuple[int, int] | None, limit: int) -> list[MetricPoint]:
    """Return the points of one metric by step, then time."""
    p = metric_points
    statement = select(p).where(p.c.project_id == tx.project, p.c.run_id == run_id, p.c.key == key)
    if after is not None:
        step, at_us = after
        statement = statement.where(or_(p.c.step > step, and_(p.c.step == step, p.c.at_us > at_us)))
    rows = tx.execute(statement.order_by(p.c.step, p.c.at_us, p.c.point_id).limit(limit))
    points = [(row.step, row.at_us, _number(row.number)) for row in rows]
    return [
        MetricPoint(step, at_us, value if math.isfinite(value) else None, name_non_finite(value))
        for step, at_us, value in points
    ]


def list_experiments(tx: Tx) -> list[Experiment]:
    """Return experiments with counts of runs, the one that ran last first."""

    def count(*states: str) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((runs.c.state.in_(states), 1), else_=0)), 0)

    last = func.max(runs.c.started_at)
    statement = select(
        runs.c.experiment.label("name"),
        func.count().label("runs"),
        count("running").label("running"),
        count("finished").label("finished"),
        count("failed", "killed").label("failed"),
        last.label("last_started_at"),
    ).where(runs.c.project_id == tx.project)
    rows = tx.execute(statement.group_by(runs.c.experiment).order_by(last.desc(), runs.c.experiment))
    return [read_row(row, Experiment) for row in rows]


def search_runs(
    tx: Tx,
    *,
    experiment: str | None,
    tree: Filter | None,
    order: tuple[Field, bool] | None,
    after: str | None,
    limit: int,
) -> list[str]:
    """Return the ids of matching runs in order: newest first, or by a field with those that lack it last.

    Runs with the same value, or without one, follow by id. The part with a value walks the index of that field.
    """
    conditions = [runs.c.project_id == tx.project]
    if experiment is not None:
        conditions.append(runs.c.experiment == experiment)
    if tree is not None:
        conditions.append(_compile(tree, tx.connection.dialect.name == "sqlite"))
    if order is None:
        cursor = [runs.c.run_id < after] if after is not None else []
        statement = select(runs.c.run_id).where(*conditions, *cursor).order_by(runs.c.run_id.desc())
        return list(tx.connection.scalars(statement.limit(limit)))
    field, is_descending = order
    value = _ordered_column(field, tx)
    base = select(runs.c.run_id).where(*conditions)
    if field.group:
        base = base.join(_GROUPS[field.group], _belongs(_GROUPS[field.group], field.name))
    last = _last_of_page(tx, field, after)
    run_ids: list[str] = []
    if last is None or last[0] is not None:
        run_ids = list(tx.connection.scalars(_ranked(base, value, last, is_descending).limit(limit)))
    if len(run_ids) < limit:
        lacking = select(runs.c.run_id).where(*conditions, _lacks(field, value))
        if last is not None and last[0] is None:
            lacking = lacking.where(runs.c.run_id < last[1])
        run_ids += tx.connection.scalars(lacking.order_by(runs.c.run_id.desc()).limit(limit - len(run_ids)))
    return run_ids


def _ordered_column(field: Field, tx: Tx) -> ColumnElement[Any]:
    if field.group in ("metrics", "params"):
        column: ColumnElement[Any] = _GROUPS[field.group].c.number
        return column
    column = run_tags.c.text if field.group else runs.c[field.name]
    # By code point on both databases, whatever language PostgreSQL was set up for.
    is_text = isinstance(column.type, Text) and tx.connection.dialect.name == "postgresql"
    return column.collate("C") if is_text else column


def _belongs(table: Table, key: str) -> ColumnElement[bool]:
    return and_(table.c.project_id == runs.c.project_id, table.c.run_id == runs.c.run_id, table.c.key == key)


def _lacks(field: Field, value: ColumnElement[Any]) -> ColumnElement[bool]:
    if not field.group:
        return value.is_(None)
    return not_(exists().where(_belongs(_GROUPS[field.group], field.name), value.is_not(None)).correlate(runs))


def _last_of_page(tx: Tx, field: Field, after: str | None) -> tuple[Any, str] | None:
    """Return the ordering value and id of the run a page begins after."""
    if after is None:
        return None
    value = _ordered_column(field, tx)
    statement = select(value).where(runs.c.project_id == tx.project, runs.c.run_id == after)
    if field.group:
        statement = statement.select_from(runs).join(_GROUPS[field.group], _belongs(_GROUPS[field.group], field.name))
    return tx.connection.scalar(statement), after


def _ranked(
    base: Select[tuple[str]], value: ColumnElement[Any], last: tuple[Any, str] | None, is_descending: bool
) -> Select[tuple[str]]:
    statement = base.where(value.is_not(None))
    if last is not None:
        further = value < last[0] if is_descending else value > last[0]
        same = runs.c.run_id < last[1] if is_descending else runs.c.run_id > last[1]
        statement = statement.where(or_(further, and_(value == last[0], same)))
    if is_descending:
        return statement.order_by(value.desc(), runs.c.run_id.desc())
    return statement.order_by(value, runs.c.run_id)


def _compile(tree: Filter, is_sqlite: bool) -> ColumnElement[bool]:
    if isinstance(tree, Conjunction):
        return and_(*(_compile(part, is_sqlite) for part in tree.parts))
    if isinstance(tree, Disjunction):
        return or_(*(_compile(part, is_sqlite) for part in tree.parts))
    if isinstance(tree, Negation):
        return not_(_compile(tree.inner, is_sqlite))
    if not tree.field.group:
        column = runs.c[tree.field.name]
        # A column that is NULL would make a negation unknown rather than true.
        return and_(column.is_not(None), _compare(column, tree, is_sqlite))
    table = _GROUPS[tree.field.group]
    return exists().where(_belongs(table, tree.field.name), _typed(table, tree, is_sqlite)).correlate(runs)


def _typed(table: Table, tree: Comparison, is_sqlite: bool) -> ColumnElement[bool]:
    """Compare with the column that holds values of the literal's type; ``in`` may mix them."""
    if table is run_metrics:
        return _compare(table.c.number, tree, is_sqlite)
    values: Iterable[Scalar] = tree.value if isinstance(tree.value, list) else [tree.value]
    numbers = [value for value in values if type(value) is float]
    if not numbers or table is run_tags:
        return _compare(table.c.text, tree, is_sqlite)
    if tree.operator == "!=":
        return or_(table.c.number.is_(None), table.c.number != numbers[0])
    if tree.operator != "in":
        return _compare(table.c.number, tree, is_sqlite)
    texts = [_as_text(value) for value in values if type(value) is not float]
    return or_(table.c.number.in_(numbers), table.c.text.in_(texts) if texts else false())


def _compare(column: ColumnElement[Any], tree: Comparison, is_sqlite: bool) -> ColumnElement[bool]:
    if isinstance(tree.value, list):
        return column.in_([_as_text(value) for value in tree.value])
    value = _as_text(tree.value)
    if tree.operator == "like":
        return _like(column, str(value), is_sqlite)

    return column.op(tree.operator, is_comparison=True)(value)


def _as_text(value: Scalar) -> str | float:
    return ("true" if value else "false") if isinstance(value, bool) else value


def _like(column: ColumnElement[Any], pattern: str, is_sqlite: bool) -> ColumnElement[bool]:
    """Match letter for letter on both databases: SQLite's LIKE ignores case, its GLOB does not."""
    if not is_sqlite:
        return column.like(pattern.replace("\\", "\\\\"))
    quoted = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in pattern)
    return column.op("GLOB", is_comparison=True)(quoted.replace("%", "*").replace("_", "?"))
