"""Every statement of pipelines."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, insert, select, tuple_, update

from loopwright.kernel.documents import convert, to_builtins
from loopwright.pipelines.tables import executions, pipeline_definitions, pipelines, step_cache, step_runs
from loopwright.pipelines.types import Execution, Pipeline, PipelineSpec, StepRun
from loopwright.store.sql import upsert
from loopwright.store.statements import Statement
from loopwright.store.tx import Tx


def put_pipeline(tx: Tx, digest: str, spec: PipelineSpec) -> None:
    """Keep a definition by its digest and make it the pipeline's present one."""
    definition = {
        "project_id": tx.project,
        "digest": digest,
        "spec": to_builtins(spec),
        "recorded_at": tx.wall_us,
    }
    upsert(tx.connection, pipeline_definitions, [definition], key=("project_id", "digest"), do_update=False)
    row = {"project_id": tx.project, "name": spec.name, "digest": digest, "changed_at": tx.now_us}
    upsert(tx.connection, pipelines, [row], key=("project_id", "name"), do_update=True)


def find_pipeline(tx: Tx, name: str) -> Pipeline | None:
    """Return a pipeline with its present definition."""
    row = tx.execute(_pipelines(tx.project).where(pipelines.c.name == name)).first()
    return None if row is None else _pipeline(row)


def list_pipelines(tx: Tx) -> list[Pipeline]:
    """Return every pipeline by name."""
    return [_pipeline(row) for row in tx.execute(_pipelines(tx.project).order_by(pipelines.c.name))]


def _pipelines(project: str) -> Any:
    joined = pipelines.join(
        pipeline_definitions,
        (pipelines.c.project_id == pipeline_definitions.c.project_id)
        & (pipelines.c.digest == pipeline_definitions.c.digest),
    )
    columns = (pipelines.c.name, pipelines.c.digest, pipelines.c.changed_at, pipeline_definitions.c.spec)
    return select(*columns).select_from(joined).where(pipelines.c.project_id == project)


def _pipeline(row: Row[Any]) -> Pipeline:
    return Pipeline(row.name, row.digest, convert(row.spec, PipelineSpec), row.changed_at)


def find_definition(tx: Tx, digest: str) -> PipelineSpec | None:
    """Return a definition by its digest, whether or not it is the present one."""
    table = pipeline_definitions
    spec = tx.execute(select(table.c.spec).where(table.c.project_id == tx.project, table.c.digest == digest)).scalar()
    return None if spec is None else convert(spec, PipelineSpec)


def insert_execution(tx: Tx, execution: Execution, steps: Sequence[str]) -> None:
    """Keep a new execution with its steps, all waiting."""
    values = {name: getattr(execution, name) for name in execution.__struct_fields__ if name != "steps"}
    tx.execute(insert(executions), {"project_id": tx.project, **values})
    rows = [
        {
            "project_id": tx.project,
            "execution_id": execution.execution_id,
            "step": step,
            "place": index,
            "state": "waiting",
            "attempt": 0,
            "failures": 0,
            "is_from_cache": False,
        }
        for index, step in enumerate(steps)
    ]
    tx.execute(insert(step_runs), rows)


_execution_of = select(executions).where(
    executions.c.project_id == bindparam("project"), executions.c.execution_id == bindparam("execution")
)
_find_execution, _lock_execution = Statement(_execution_of), Statement(_execution_of.with_for_update())


def find_execution(tx: Tx, execution_id: str, *, lock: bool = False) -> Execution | None:
    """Return an execution without its steps; ``lock`` keeps other writers of it waiting until the commit."""
    place = {"project": tx.project, "execution": execution_id}
    row = (_lock_execution if lock else _find_execution).first(tx.connection, **place)
    return None if row is None else _execution(row)


def list_executions(tx: Tx, *, pipeline: str | None, states: Sequence[str], limit: int) -> list[Execution]:
    """Return executions, newest first, without their steps."""
    statement = select(executions).where(executions.c.project_id == tx.project)
    if pipeline is not None:
        statement = statement.where(executions.c.pipeline == pipeline)
    if states:
        statement = statement.where(executions.c.state.in_(states))
    statement = statement.order_by(executions.c.recorded_at.desc(), executions.c.execution_id.desc()).limit(limit)
    return [_execution(row) for row in tx.execute(statement)]


def update_execution(tx: Tx, execution_id: str, **values: Any) -> None:
    """Change columns of one execution."""
    tx.execute(
        update(executions)
        .where(executions.c.project_id == tx.project, executions.c.execution_id == execution_id)
        .values(**values)
    )


def _execution(row: Row[Any]) -> Execution:
    values = dict(row._mapping)
    del values["project_id"]
    return Execution(**values)


def list_steps(tx: Tx, execution_id: str) -> list[StepRun]:
    """Return the steps of an execution in the order of the definition."""
    return [_step(row) for row in tx.execute(_steps(tx.project, execution_id).order_by(step_runs.c.place))]


def _steps(project: str, execution_id: str) -> Any:
    return select(step_runs).where(step_runs.c.project_id == project, step_runs.c.execution_id == execution_id)


_of_execution = (step_runs.c.project_id == bindparam("project")) & (step_runs.c.execution_id == bindparam("execution"))
_states = Statement(
    select(
        step_runs.c.step,
        step_runs.c.state,
        step_runs.c.attempt,
        step_runs.c.failures,
        step_runs.c.due_at,
        step_runs.c.cache_key,
    ).where(_of_execution)
)
_output = Statement(select(step_runs.c.output).where(_of_execution, step_runs.c.step == bindparam("name")))


def list_step_states(tx: Tx, execution_id: str) -> list[StepRun]:
    """Return how the steps of an execution stand, in no order: without outputs, errors and times."""
    rows = _states.all(tx.connection, project=tx.project, execution=execution_id)
    return [StepRun(execution_id, **row._asdict()) for row in rows]


def read_outputs(tx: Tx, execution_id: str, steps: Sequence[str]) -> dict[str, Any]:
    """Return the outputs of some steps by name; a step waits for few."""
    place = {"project": tx.project, "execution": execution_id}
    return {step: _output.scalar(tx.connection, **place, name=step) for step in steps}


def update_step(tx: Tx, run: StepRun, values: dict[str, Any]) -> None:
    """Change columns of one step; the statements are kept, for this is what every step of every execution does."""
    new = {f"new_{name}": value for name, value in values.items()}
    place = {"project": tx.project, "execution": run.execution_id, "name": run.step}
    _update_step(tuple(values)).run(tx.connection, **place, **new)


@cache
def _update_step(columns: tuple[str, ...]) -> Statement:
    changed: dict[str, Any] = {name: bindparam(f"new_{name}") for name in columns}
    return Statement(update(step_runs).where(_of_execution, step_runs.c.step == bindparam("name")).values(changed))


def update_steps(
    tx: Tx, execution_id: str, *, step: str | None = None, states: Sequence[str] = (), **values: Any
) -> None:
    """Change columns of the steps of an execution, of one or of those in some states."""
    statement = update(step_runs).where(step_runs.c.project_id == tx.project, step_runs.c.execution_id == execution_id)
    if step is not None:
        statement = statement.where(step_runs.c.step == step)
    if states:
        statement = statement.where(step_runs.c.state.in_(states))
    tx.execute(statement.values(**values))


def _step(row: Row[Any]) -> StepRun:
    values = dict(row._mapping)
    del values["project_id"], values["place"]
    return StepRun(**values)


_find_cached = Statement(
    select(step_cache.c.output, step_cache.c.log_digest, step_cache.c.used_at).where(
        step_cache.c.project_id == bindparam("project"), step_cache.c.cache_key == bindparam("key")
    )
)


def find_cached(tx: Tx, cache_key: str) -> tuple[Any, str | None, int] | None:
    """Return output and log digest of the step that first gave this key, and when it was last of use."""
    row = _find_cached.first(tx.connection, project=tx.project, key=cache_key)
    return None if row is None else (row.output, row.log_digest, row.used_at)


def mark_used(tx: Tx, cache_key: str) -> None:
    """Record that what is kept under a key was of use just now."""
    is_this = (step_cache.c.project_id == tx.project, step_cache.c.cache_key == cache_key)
    tx.execute(update(step_cache).where(*is_this).values(used_at=tx.wall_us))


def count_unused(connection: Connection, before_us: int) -> int:
    """Return how many outputs of every project were last of use before a moment, wall time."""
    statement = select(func.count()).select_from(step_cache).where(step_cache.c.used_at < before_us)
    return int(connection.execute(statement).scalar_one())


def forget_unused(connection: Connection, before_us: int, limit: int) -> int:
    """Forget some outputs that were last of use before a moment, wall time; return how many."""
    key = (step_cache.c.project_id, step_cache.c.cache_key)
    some = select(*key).where(step_cache.c.used_at < before_us).limit(limit)
    return int(connection.execute(delete(step_cache).where(tuple_(*key).in_(some))).rowcount)


def put_cached(tx: Tx, cache_key: str, run: StepRun) -> None:
    """Keep the output of a step under its key; the first one stays."""
    row = {
        "project_id": tx.project,
        "cache_key": cache_key,
        "execution_id": run.execution_id,
        "step": run.step,
        "output": run.output,
        "log_digest": run.log_digest,
        "recorded_at": tx.wall_us,
        "used_at": tx.wall_us,
    }
    upsert(tx.connection, step_cache, [row], key=("project_id", "cache_key"), do_update=False)


_later = executions.alias("later")
_newest_failed = (
    select(executions)
    .where(executions.c.project_id == bindparam("project"), executions.c.state == "failed")
    .where(
        ~exists()
        .where(_later.c.project_id == executions.c.project_id, _later.c.pipeline == executions.c.pipeline)
        .where(_later.c.recorded_at > executions.c.recorded_at)
    )
    .order_by(executions.c.recorded_at.desc(), executions.c.execution_id.desc())
)


def newest_failed(tx: Tx) -> list[Execution]:
    """Return the failed executions that are the newest of their pipeline, newest first."""
    return [_execution(row) for row in tx.connection.execute(_newest_failed, {"project": tx.project})]
