"""Executions are run by rows alone: who runs one, and when a step that failed begins again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply this revision."""
    _change_executions()
    _change_step_runs()


def _change_executions() -> None:
    op.add_column("executions", sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False))


def _change_step_runs() -> None:
    op.add_column("step_runs", sa.Column("due_at", sa.BigInteger(), nullable=True))
