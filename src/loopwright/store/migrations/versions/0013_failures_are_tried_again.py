"""Timers and reactions that fail are tried again."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply this revision."""
    _change_reactions()
    _change_timers()


def _change_reactions() -> None:
    op.add_column("reactions", sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("reactions", sa.Column("retry_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_reactions_retry",
        "reactions",
        ["retry_at"],
        unique=False,
        sqlite_where=sa.text("retry_at IS NOT NULL"),
        postgresql_where=sa.text("retry_at IS NOT NULL"),
    )


def _change_timers() -> None:
    op.add_column("timers", sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("timers", sa.Column("retry_at", sa.BigInteger(), nullable=True))
    op.add_column("timers", sa.Column("has_successor", sa.Boolean(), server_default=sa.false(), nullable=False))
