"""Verbs of runs: start, log, finish, search."""

from collections.abc import Sequence
from typing import Any, Literal

from loopwright.governance import lineage
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, TooLarge
from loopwright.kernel.filters import Comparison, Conjunction, Disjunction, Filter, Negation, Vocabulary, parse_filter
from loopwright.kernel.filters import parse_order as read_order
from loopwright.kernel.refs import check_name, parse_ref
from loopwright.kernel.states import check_change
from loopwright.kernel.verbs import query, verb
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef
from loopwright.tracking import sql
from loopwright.tracking.events import (
    ArtifactLogged,
    ParamsAdded,
    RunFailed,
    RunFinished,
    RunKilled,
    RunStarted,
    TagsSet,
)
from loopwright.tracking.sql import points as old_points
from loopwright.tracking.types import (
    RUN_STATES,
    Artifact,
    Environment,
    LoggedMetric,
    MetricPoint,
    Number,
    Run,
    SourceState,
    read_number,
)

MOST_POINTS = 1000
"""Points in one call."""
MOST_RUNS = 1000
"""Runs on one page of a search."""
MOST_LETTERS = {"param": 8000, "tag": 8000, "key": 250, "path": 500}
_ENDED = {"finished": RunFinished, "failed": RunFailed, "killed": RunKilled}

SEARCHED = Vocabulary(
    groups={"metrics": "number", "params": "any", "tags": "text"},
    columns={
        "run_id": "text",
        "name": "text",
        "experiment": "text",
        "state": "text",
        "execution_id": "text",
        "started_at": "any",
        "finished_at": "any",
        "event_at": "any",
    },
)
"""What a search may name. Times compare with ``"2013-03-01"`` or with microseconds."""


@verb("tracking.start_run", changes=Run)
def start_run(
    tx: Tx,
    *,
    experiment: str,
    name: str = "",
    params: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
    inputs: list[str] | None = None,
    execution_id: str | None = None,
    environment: Environment | None = None,
    source: SourceState | None = None,
) -> Run:
    """Begin a run.

    Args:
        experiment: The question it belongs to; new ones need no declaration.
        name: What people call it; not unique.
        params: JSON values, fixed from now on.
        tags: Texts that may change.
        inputs: Refs it reads, such as ``training_set:late/3``.
        execution_id: The execution whose step it is.
        environment: What it runs on.
        source: The code's commit.
    """
    run_id = tx.new_id("run")
    refs = [str(parse_ref(text, tx.project, "inputs")) for text in inputs or []]
    run = Run(
        run_id=run_id,
        experiment=check_name(experiment, "experiment"),
        name=name,
        state="running",
        params=_checked_params(params or {}),
        metrics={},
        tags=_checked_tags(tags or {}),
        inputs=refs,
        artifacts=[],
        environment=environment,
        source=source,
        execution_id=execution_id,
        event_at=tx.now_us,
        started_at=tx.wall_us,
        finished_at=None,
    )
    sql.insert_run(tx, run)
    ref = tx.ref("run", run_id)
    lineage.link(tx, ref, "read", *refs)
    if execution_id:
        lineage.link(tx, ref, "part_of", tx.ref("execution", execution_id))
    tx.emit(RunStarted(experiment=experiment, name=name, execution_id=execution_id), ref)
    return run


@verb("tracking.log", changes=Run)
def log(tx: Tx, *, run_id: str, metrics: dict[str, Number], step: int = 0) -> None:
    """Log metrics at a step. NaN and infinities are kept; over HTTP they are null, ``"inf"`` and ``"-inf"``.

    Points are bulk rows: they write no event.
    """
    if len(metrics) != 1:
        log_batch(tx, run_id=run_id, metrics=[LoggedMetric(key, value, step) for key, value in metrics.items()])
        return
    ((key, value),) = metrics.items()
    if not sql.add_point(tx, run_id, _checked_key(key, "metrics"), step, tx.wall_us, read_number(value)):
        _check_running(tx, run_id)


@verb("tracking.log_batch", changes=Run)
def log_batch(
    tx: Tx, *, run_id: str, metrics: list[LoggedMetric] | None = None, params: dict[str, Any] | None = None
) -> None:
    """Log up to 1,000 points and further params at once.

    Raises:
        Conflict: The run has ended, or a param has another value already.
        TooLarge: More than 1,000 points.
    """
    points = metrics or []
    if len(points) > MOST_POINTS:
        raise TooLarge("too many points in one call", field="metrics", value=len(points), rule=f"at most {MOST_POINTS}")
    _check_running(tx, run_id)
    if params:
        _add_params(tx, run_id, _checked_params(params))
    rows = [
        (_checked_key(point.key, "metrics"), point.step, tx.wall_us if point.at_us is None else point.at_us, number)
        for point, number in ((point, read_number(point.value)) for point in points)
    ]
    sql.insert_points(tx, run_id, rows)


@verb("tracking.log_artifact", changes=Run)
def log_artifact(tx: Tx, *, run_id: str, path: str, digest: Digest, size_bytes: int) -> Artifact:
    """Record a file of a run whose blob is stored; the same path again replaces it.

    Raises:
        InvalidInput: The path is absolute or leaves the run's folder.
    """
    _check_running(tx, run_id)
    parts = path.split("/")
    if not path or len(path) > MOST_LETTERS["path"] or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise InvalidInput(
            "this path cannot be used", field="path", value=path, rule="relative, with /, without . and .."
        )
    artifact = Artifact(path, digest, size_bytes)
    sql.upsert_artifact(tx, run_id, artifact)
    tx.keep_blobs(BlobRef(digest, size_bytes))
    tx.emit(ArtifactLogged(path=path, digest=digest, size_bytes=size_bytes), tx.ref("run", run_id))
    return artifact


@verb("tracking.set_tags", changes=Run)
def set_tags(tx: Tx, *, run_id: str, tags: dict[str, str]) -> Run:
    """Set tags of a run, whatever its state."""
    _state(tx, run_id)
    sql.upsert_tags(tx, run_id, _checked_tags(tags))
    tx.emit(TagsSet(tags=tags), tx.ref("run", run_id))
    return get_run(tx, run_id=run_id)


@verb("tracking.finish_run", changes=Run)
def finish_run(
    tx: Tx, *, run_id: str, state: Literal["finished", "failed", "killed"] = "finished", reason: str = ""
) -> Run:
    """End a run. Ending it again in the same state is once."""
    before = _state(tx, run_id)
    if before != state:
        check_change("run", RUN_STATES, before, state)
        sql.update_run(tx, run_id, state=state, finished_at=tx.wall_us)
        tx.emit(_ENDED[state](), tx.ref("run", run_id), reason=reason)
    return get_run(tx, run_id=run_id)


@query("tracking.get_run")
def get_run(tx: Tx, *, run_id: str) -> Run:
    """Return one run with the last value of each metric."""
    run = sql.find_run(tx, run_id)
    if run is None:
        raise _unknown(tx, run_id)
    return run


def running_among(tx: Tx, run_ids: Sequence[str]) -> list[str]:
    """Return those of some runs that go on."""
    return sql.running_among(tx, run_ids)


@query("tracking.search_runs")
def search_runs(
    tx: Tx,
    *,
    experiment: str | None = None,
    filter: str = "",
    order_by: str = "",
    limit: int = 100,
    after: str | None = None,
) -> list[Run]:
    """Return runs that match a filter.

    Args:
        experiment: Only runs of this one.
        filter: ``metrics.roc_auc > 0.7 and params.learning_rate = 0.05 and tags.team = "x" and state = "finished"``.
        order_by: ``metrics.roc_auc desc``; runs without a value come last. Newest first where empty.
        limit: At most 1,000.
        after: The ``run_id`` at the end of the page before.
    """
    tree = parse_filter(filter, SEARCHED)
    order = read_order(order_by, SEARCHED) if order_by.strip() else None
    ids = sql.search_runs(
        tx,
        experiment=experiment,
        tree=None if tree is None else _with_moments(tree),
        order=order,
        after=after,
        limit=max(1, min(limit, MOST_RUNS)),
    )
    return sql.find_runs(tx, ids)


@query("tracking.metric_history")
def metric_history(
    tx: Tx, *, run_id: str, key: str, limit: int = 10_000, after: MetricPoint | None = None
) -> list[MetricPoint]:
    """Return the points of one metric by step, then time; ``after`` is the last point of the page before."""
    place = None if after is None else (after.step, after.at_us)
    return sql.find_points(tx, run_id, key, after=place, limit=max(1, min(limit, 100_000)))


def runs_with_old_points(tx: Tx, *, experiment: str, finished_before: int, limit: int) -> list[str]:
    """Return runs of an experiment that ended before a moment of wall time and have all their points, oldest first."""
    return old_points.runs_with_old_points(tx, experiment, finished_before, limit)


def count_points(tx: Tx, *, run_ids: Sequence[str]) -> int:
    """Return how many points ``remove_points`` would remove of runs."""
    return old_points.count_points(tx, run_ids)


def remove_points(tx: Tx, *, run_ids: Sequence[str], limit: int) -> int:
    """Remove at most so many points of runs that have ended, but for the last of each metric; return how many.

    Where that was all there is to remove, the runs say so from then on.
    """
    removed = old_points.remove_points(tx, run_ids, limit)
    if removed < limit and run_ids:
        old_points.mark_without_points(tx, run_ids)
    return removed


def _with_moments(tree: Filter) -> Filter:
    """Turn ISO texts that are compared with times into microseconds."""
    if isinstance(tree, Conjunction):
        return Conjunction([_with_moments(part) for part in tree.parts])
    if isinstance(tree, Disjunction):
        return Disjunction([_with_moments(part) for part in tree.parts])
    if isinstance(tree, Negation):
        return Negation(_with_moments(tree.inner))
    if not tree.field.name.endswith("_at") or tree.field.group:
        return tree
    values = tree.value if isinstance(tree.value, list) else [tree.value]
    moments: list[Any] = [parse_moment(value if isinstance(value, str) else int(value), "filter") for value in values]
    return Comparison(tree.field, tree.operator, moments if isinstance(tree.value, list) else moments[0])


def _state(tx: Tx, run_id: str) -> str:
    state = sql.find_state(tx, run_id)
    if state is None:
        raise _unknown(tx, run_id)
    return state


def _check_running(tx: Tx, run_id: str) -> None:
    state = _state(tx, run_id)
    if state != "running":
        raise Conflict(f"this run is {state}", field="run_id", value=run_id, rule="only a running run takes more")


def _unknown(tx: Tx, run_id: str) -> NotFound:
    step = "search with tracking.search_runs"
    return missing(tx, "run", run_id, None, NotFound("no such run", field="run_id", value=run_id, next_step=step))


def _add_params(tx: Tx, run_id: str, params: dict[str, Any]) -> None:
    stored = sql.find_params(tx, run_id)
    for key, value in params.items():
        if key in stored and to_json(stored[key]) != to_json(value):
            raise Conflict(
                f"param {key} is {stored[key]!r} already",
                field=f"params.{key}",
                value=value,
                rule="a param keeps its first value",
                next_step="log a metric or a tag, or start another run",
            )
    if further := {key: value for key, value in params.items() if key not in stored}:
        sql.insert_params(tx, run_id, further)
        tx.emit(ParamsAdded(sorted(further)), tx.ref("run", run_id))


def _checked_key(key: str, field: str) -> str:
    if not key or len(key) > MOST_LETTERS["key"] or not key.isprintable():
        raise InvalidInput("this name cannot be used", field=field, value=key, rule="1-250 printable letters")
    return key


def _checked_params(params: dict[str, Any]) -> dict[str, Any]:
    for key, value in params.items():
        _checked_key(key, "params")
        try:
            size = len(to_json(value))
        except TypeError:
            raise InvalidInput("a param is a JSON value", field=f"params.{key}", value=value) from None
        if size > MOST_LETTERS["param"]:
            raise TooLarge(
                "this param is too long", field=f"params.{key}", value=size, rule="at most 8,000 bytes of JSON"
            )
    return params


def _checked_tags(tags: dict[str, str]) -> dict[str, str]:
    for key, text in tags.items():
        _checked_key(key, "tags")
        if len(text) > MOST_LETTERS["tag"]:
            raise TooLarge("this tag is too long", field=f"tags.{key}", value=len(text), rule="at most 8,000 letters")
    return tags
