"""Every statement of the loop."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    update,
)

from loopwright.kernel.documents import convert, to_builtins
from loopwright.loop.tables import applied_specs, key_runs, label_feeds, reactions, retrains
from loopwright.loop.types import KeyRun, ProjectSpec, RetrainRecord, WaitingReaction
from loopwright.store.rows import read_row, row_of
from loopwright.store.sql import upsert
from loopwright.store.statements import Statement
from loopwright.store.tables import cursors
from loopwright.store.tx import Tx

READER, DONE = "reactor", "done"
"""Name of the reactor's cursor, up to which every event is answered; and the outcome of an answer that was given."""


def newest_spec(tx: Tx) -> tuple[int, str, ProjectSpec] | None:
    """Return number, digest and content of the spec that was applied last."""
    statement = (
        select(applied_specs)
        .where(applied_specs.c.project_id == tx.project)
        .order_by(applied_specs.c.number.desc())
        .limit(1)
    )
    row = tx.execute(statement).first()
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


_FIRST_FEED = {"since": 0, "waiting": "", "replacements": 0, "looked_at": 0}


def find_label_feed(tx: Tx, deployment: str) -> dict[str, Any]:
    """Return how far the labels of a deployment were taken, by column."""
    same = label_feeds.c.project_id == tx.project, label_feeds.c.deployment == deployment
    row = tx.execute(select(*(label_feeds.c[name] for name in _FIRST_FEED)).where(*same)).first()
    return dict(_FIRST_FEED) if row is None else dict(row._mapping)


def list_label_feeds(tx: Tx, *, has_more: bool = False) -> list[str]:
    """Return each deployment whose labels were taken; only those of which there were more, if so asked."""
    statement = select(label_feeds.c.deployment).where(label_feeds.c.project_id == tx.project)
    rows = tx.execute(statement.where(label_feeds.c.has_more) if has_more else statement)
    return [row.deployment for row in rows]


def put_label_feed(tx: Tx, deployment: str, **values: Any) -> None:
    """Keep how far the labels of a deployment were taken; what is not given stays as it was."""
    row = {"project_id": tx.project, "deployment": deployment}
    upsert(tx.connection, label_feeds, [row | _FIRST_FEED], key=("project_id", "deployment"), do_update=False)
    same = label_feeds.c.project_id == tx.project, label_feeds.c.deployment == deployment
    tx.execute(update(label_feeds).where(*same).values(**values))


def list_key_runs(tx: Tx, deployment: str) -> list[KeyRun]:
    """Return the runs of a deployment's index of keys, in the order of their numbers."""
    of = key_runs.c.project_id == tx.project, key_runs.c.deployment == deployment
    rows = tx.execute(select(key_runs).where(*of).order_by(key_runs.c.number))
    return [read_row(row, KeyRun) for row in rows]


def save_key_runs(tx: Tx, deployment: str, runs: list[KeyRun]) -> None:
    """Have an index of keys be made of these runs; one of a number that is known is as it was."""
    numbers = [run.number for run in runs]
    of = key_runs.c.project_id == tx.project, key_runs.c.deployment == deployment
    tx.execute(delete(key_runs).where(*of, key_runs.c.number.not_in(numbers)))
    rows = [row_of(tx, key_runs, run, deployment=deployment) for run in runs]
    if rows:
        upsert(tx.connection, key_runs, rows, key=("project_id", "deployment", "number"), do_update=False)


def take_reaction(tx: Tx, rule: str, position: int) -> bool:
    """Record that a rule answers an event; False if it already did."""
    if _is_answered(tx, rule, position):
        return False
    row = {
        "rule": rule,
        "position": position,
        "project_id": tx.project,
        "outcome": DONE,
        "recorded_at": tx.wall_us,
    }
    return upsert(tx.connection, reactions, [row], key=("rule", "position"), do_update=False) == 1


def record_failed_reaction(
    tx: Tx, rule: str, position: int, outcome: str, *, failures: int, retry_at: int | None
) -> bool:
    """Record that a rule failed on an event so many times, and when it is tried again; None if it is not.

    False if another process answered the event, or recorded a failure, since it was read: then that one's word counts.
    """
    row = {
        "rule": rule,
        "position": position,
        "project_id": tx.project,
        "outcome": outcome,
        "recorded_at": tx.wall_us,
        "failures": failures,
        "retry_at": retry_at,
    }
    if failures == 1:
        if _is_answered(tx, rule, position):
            return False
        return upsert(tx.connection, reactions, [row], key=("rule", "position"), do_update=False) == 1
    is_as_read = _is_waiting(rule, position) & (reactions.c.failures == failures - 1)
    return tx.execute(update(reactions).where(is_as_read).values(row)).rowcount == 1


_answered = Statement(
    select(
        exists()
        .where(reactions.c.rule == bindparam("rule"), reactions.c.position == bindparam("position"))
        .label("own"),
        exists().where(cursors.c.reader == READER, cursors.c.position >= bindparam("position")).label("all"),
    )
)


def _is_answered(tx: Tx, rule: str, position: int) -> bool:
    """Say whether a rule answered an event, or the cursor is past it: what was done that far is forgotten.

    A reactor that is behind reads such events too. Both are one look: a row that is gone was below the cursor before.
    """
    row = _answered.first(tx.connection, rule=rule, position=position)
    return bool(row.own or row.all)


_forgettable = (
    select(reactions.c.rule, reactions.c.position)
    .where(
        reactions.c.position <= select(cursors.c.position).where(cursors.c.reader == READER).scalar_subquery(),
        reactions.c.outcome == DONE,
        reactions.c.recorded_at < bindparam("before_us"),
    )
    .limit(bindparam("most"))
)
_forget = delete(reactions).where(tuple_(reactions.c.rule, reactions.c.position).in_(_forgettable))


def forget_reactions(connection: Connection, before_us: int, limit: int) -> int:
    """Drop up to ``limit`` records of answers given before a moment to events that no reactor reads again.

    What failed stays: it is tried again, or a person was told.
    """
    return connection.execute(_forget, {"before_us": before_us, "most": limit}).rowcount


def retake_reaction(tx: Tx, rule: str, position: int) -> bool:
    """Record that a rule that failed on an event answers it after all; False if nobody waits for that any more."""
    answered = {"outcome": DONE, "retry_at": None, "recorded_at": tx.wall_us}
    return tx.execute(update(reactions).where(_is_waiting(rule, position)).values(answered)).rowcount == 1


def _is_waiting(rule: str, position: int) -> ColumnElement[bool]:
    return (reactions.c.rule == rule) & (reactions.c.position == position) & reactions.c.retry_at.is_not(None)


_waiting = select(reactions.c.rule, reactions.c.position, reactions.c.failures).order_by(reactions.c.retry_at)
_waiting = _waiting.where(reactions.c.retry_at <= bindparam("wall_us"))
_first_retry = select(func.min(reactions.c.retry_at)).where(reactions.c.retry_at.is_not(None))
_next_retry = _first_retry.where(reactions.c.project_id == bindparam("project"))


def waiting_reactions(connection: Connection, wall_us: int) -> list[WaitingReaction]:
    """Return the reactions of every project that failed and are to be tried again now."""
    rows = connection.execute(_waiting, {"wall_us": wall_us})
    return [WaitingReaction(row.rule, row.position, row.failures) for row in rows]


def first_retry_at(connection: Connection) -> int | None:
    """Return when the next reaction of any project is tried again, wall clock."""
    found: int | None = connection.execute(_first_retry).scalar()
    return found


def next_retry_at(tx: Tx) -> int | None:
    """Return when the next reaction of a project is tried again, wall clock; None where none waits for that."""
    found: int | None = tx.execute(_next_retry, {"project": tx.project}).scalar()
    return found


def insert_retrain(tx: Tx, record: RetrainRecord) -> None:
    """Add a retrain that was started."""
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    tx.execute(insert(retrains), {"project_id": tx.project, **values})


def update_retrain(tx: Tx, retrain_id: str, **values: Any) -> None:
    """Change columns of a retrain."""
    statement = update(retrains).where(retrains.c.project_id == tx.project, retrains.c.retrain_id == retrain_id)
    tx.execute(statement.values(**values))


def list_retrains(
    tx: Tx,
    deployment: str | None = None,
    *,
    states: Sequence[str] = (),
    execution_id: str | None = None,
    version: int | None = None,
) -> list[RetrainRecord]:
    """Return the retrains, newest first."""
    statement = select(retrains).where(retrains.c.project_id == tx.project)
    if deployment is not None:
        statement = statement.where(retrains.c.deployment == deployment)
    if states:
        statement = statement.where(retrains.c.state.in_(list(states)))
    if execution_id is not None:
        statement = statement.where(retrains.c.execution_id == execution_id)
    if version is not None:
        statement = statement.where(retrains.c.version == version)
    rows = tx.execute(statement.order_by(retrains.c.event_at.desc(), retrains.c.retrain_id.desc()))
    return [_retrain(row) for row in rows]


def _retrain(row: Row[Any]) -> RetrainRecord:
    values = dict(row._mapping)
    values.pop("project_id")
    return RetrainRecord(**values)
