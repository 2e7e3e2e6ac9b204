"""Statements of idempotency keys."""

from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, select, tuple_, update

from loopwright.store.sql.rows import upsert
from loopwright.store.statements import Statement
from loopwright.store.tables import idempotency_keys

_is_key = and_(idempotency_keys.c.project_id == bindparam("of_project"), idempotency_keys.c.key == bindparam("of_key"))
_keep_answer = Statement(update(idempotency_keys).where(_is_key).values(answer=bindparam("given")))
_get_answer = Statement(select(idempotency_keys).where(_is_key))


def insert_key(connection: Connection, project: str, key: str, request_digest: str, wall_us: int) -> bool:
    """Take an idempotency key for a call; False if a call had it before. Of two at once the second waits here."""
    row = {"project_id": project, "key": key, "request_digest": request_digest, "recorded_at": wall_us}
    return upsert(connection, idempotency_keys, [row], key=("project_id", "key"), do_update=False) == 1


def keep_answer(connection: Connection, project: str, key: str, answer: Any) -> None:
    """Keep the answer of the call that took an idempotency key."""
    _keep_answer.run(connection, of_project=project, of_key=key, given=answer)


def get_answer(connection: Connection, project: str, key: str) -> tuple[str, Any]:
    """Return request digest and stored answer of an idempotency key that was taken."""
    row = _get_answer.first(connection, of_project=project, of_key=key)
    return row.request_digest, row.answer


_expired = (
    select(idempotency_keys.c.project_id, idempotency_keys.c.key)
    .where(idempotency_keys.c.recorded_at < bindparam("before_us"))
    .order_by(idempotency_keys.c.recorded_at)
    .limit(bindparam("most"))
)
_delete_expired = delete(idempotency_keys).where(
    tuple_(idempotency_keys.c.project_id, idempotency_keys.c.key).in_(_expired)
)


def delete_keys(connection: Connection, before_us: int, limit: int) -> int:
    """Drop up to ``limit`` idempotency keys that were taken before a moment; return how many."""
    return connection.execute(_delete_expired, {"before_us": before_us, "most": limit}).rowcount
