"""Targets of channels leave jobs and answers of before they were kept apart: whoever read these could speak there."""

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_jobs = sa.table("jobs", *map(sa.column, ("project_id", "kind", "args", "result", "error")))
_keys = sa.table("idempotency_keys", *map(sa.column, ("project_id", "answer")))
_targets = sa.table("channel_targets", *map(sa.column, ("project_id", "channel", "target")))
_MARK = "…"


def upgrade() -> None:
    """Apply this revision."""
    connection = op.get_bind()
    known = {(row.project_id, row.channel): row.target for row in connection.execute(sa.select(_targets))}
    told = _told_in_jobs(connection)
    for (project, shown), target in told.items():
        if (project, shown) not in known:
            connection.execute(sa.insert(_targets).values(project_id=project, channel=shown, target=target))
    for (project, shown), target in {**told, **known}.items():
        whole = f"{shown.partition(':')[0]}:{target}"
        for table, column in ((_jobs, "args"), (_jobs, "result"), (_jobs, "error"), (_keys, "answer")):
            hidden = sa.func.replace(table.c[column], _quoted(whole), _quoted(shown))
            is_meant = sa.and_(table.c.project_id == project, table.c[column] != hidden)
            connection.execute(sa.update(table).where(is_meant).values({column: hidden}))


def _told_in_jobs(connection: Any) -> dict[tuple[str, str], str]:
    """Return the targets that jobs of deliveries name, by project and by what may be shown of them."""
    told = {}
    deliveries = sa.select(_jobs.c.project_id, _jobs.c.args).where(_jobs.c.kind == "monitoring.deliver_alert")
    for row in connection.execute(deliveries):
        kind, _, target = json.loads(row.args).get("channel", "").partition(":")
        if target and _MARK not in target:
            told[row.project_id, f"{kind}:{_shown(target)}"] = target
    return told


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _shown(target: str) -> str:
    try:
        url = urlsplit(target)
        place = f"{url.scheme}://{url.hostname}/" if url.scheme and url.hostname else ""
    except ValueError:
        place = ""
    return f"{place}{_MARK}{hashlib.sha256(target.encode()).hexdigest()[:16]}"
