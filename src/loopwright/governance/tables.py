"""Tables of governance."""

from sqlalchemy import Column, Index, Table, Text

from loopwright.store.columns import METADATA, Json, Moment, project_key

projects = Table(
    "projects",
    METADATA,
    project_key(),
    Column("owner", Text, nullable=False),
    Column("risk", Text, nullable=False),
    Column("clock", Text, nullable=False),
    Column("clock_at", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("deleted_at", Moment),
)

tokens = Table(
    "tokens",
    METADATA,
    project_key(),
    Column("token_id", Text, primary_key=True),
    Column("secret_digest", Text, nullable=False, unique=True),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)

sessions = Table(
    "sessions",
    METADATA,
    project_key(),
    Column("secret_digest", Text, primary_key=True),
    Column("token_digest", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index("ix_sessions_secret_digest", "secret_digest", unique=True),
)
"""Who signed in on a page; ``project_id`` is that of the token."""

lineage = Table(
    "lineage",
    METADATA,
    project_key(),
    Column("child", Text, primary_key=True),
    Column("parent", Text, primary_key=True),
    Column("relation", Text, primary_key=True),
    Column("recorded_at", Moment, nullable=False),
    Index("ix_lineage_parent", "project_id", "parent"),
)

approvals = Table(
    "approvals",
    METADATA,
    project_key(),
    Column("approval_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("question", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", Moment, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Moment),
    Column("reason", Text),
    Column("excluded", Json),
    Index("ix_approvals_state", "project_id", "state"),
)
