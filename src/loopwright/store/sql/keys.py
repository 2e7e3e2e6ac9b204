"""Statements of idempotency keys."""

from typing import Any

from sqlalchemy import Connection, delete, select, update

from loopwright.store.sql.rows import upsert
from loopwright.store.tables import idempotency_keys


def insert_key(connection: Connection, project: str, key: str, request_digest: str, wall_us: int) -> bool:
    """Take an idempotency key for a call; False if a call had it before. Of two at once the second waits here."""
    row = {"project_id": project, "key": key, "request_digest": request_digest, "recorded_at": wall_us}
    return upsert(connection, idempotency_keys, [row], key=("project_id", "key"), do_update=False) == 1


def keep_answer(connection: Connection, project: str, key: str, answer: Any) -> None:
    """Keep the answer of the call that took an idempotency key."""
    keys = idempotency_keys
    connection.execute(update(keys).where(keys.c.project_id == project, keys.c.key == key).values(answer=answer))


def get_answer(connection: Connection, project: str, key: str) -> tuple[str, Any]:
    """Return request digest and stored answer of an idempotency key that was taken."""
    keys = idempotency_keys
    row = connection.execute(select(keys).where(keys.c.project_id == project, keys.c.key == key)).one()
    return row.request_digest, row.answer


def delete_keys(connection: Connection, before_us: int) -> int:
    """Drop the idempotency keys that were taken before a moment; return how many."""
    return connection.execute(delete(idempotency_keys).where(idempotency_keys.c.recorded_at < before_us)).rowcount
