"""Targets of channels leave the declarations that everybody reads; who signs in on a page has a session."""

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_monitors = sa.table("monitors", sa.column("project_id"), sa.column("deployment"), sa.column("spec"))
_specs = sa.table("applied_specs", sa.column("project_id"), sa.column("number"), sa.column("spec"))
_targets = sa.table("channel_targets", sa.column("project_id"), sa.column("channel"), sa.column("target"))


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "channel_targets",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "channel", name=op.f("pk_channel_targets")),
    )
    op.create_table(
        "sessions",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.Text(), nullable=False),
        sa.Column("token_digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "secret_digest", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_secret_digest", "sessions", ["secret_digest"], unique=True)
    connection = op.get_bind()
    kept: dict[tuple[str, str], str] = {}
    for row in connection.execute(sa.select(_monitors)).all():
        spec = json.loads(row.spec)
        if _hide(spec, row.project_id, kept):
            is_this = sa.and_(_monitors.c.project_id == row.project_id, _monitors.c.deployment == row.deployment)
            connection.execute(sa.update(_monitors).where(is_this).values(spec=_dump(spec)))
    for row in connection.execute(sa.select(_specs)).all():
        spec = json.loads(row.spec)
        hidden = [_hide(monitor, row.project_id, kept) for monitor in spec.get("monitors", {}).values()]
        if any(hidden):
            is_this = sa.and_(_specs.c.project_id == row.project_id, _specs.c.number == row.number)
            connection.execute(sa.update(_specs).where(is_this).values(spec=_dump(spec)))
    for (project, channel), target in kept.items():
        connection.execute(sa.insert(_targets).values(project_id=project, channel=channel, target=target))


def _hide(spec: dict[str, Any], project: str, kept: dict[tuple[str, str], str]) -> bool:
    """Put what may be shown in place of each target, and keep the target; say whether there was one."""
    channels = spec.get("channels", [])
    for place, channel in enumerate(channels):
        kind, _, target = channel.partition(":")
        if target:
            channels[place] = f"{kind}:{_shown(target)}"
            kept[project, channels[place]] = target
    return any(channel.partition(":")[2] for channel in channels)


def _shown(target: str) -> str:
    try:
        url = urlsplit(target)
        place = f"{url.scheme}://{url.hostname}/" if url.scheme and url.hostname else ""
    except ValueError:
        place = ""
    return f"{place}…{hashlib.sha256(target.encode()).hexdigest()[:16]}"


def _dump(spec: dict[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
