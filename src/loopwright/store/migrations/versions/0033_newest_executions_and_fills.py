"""Newest executions and fills."""

from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Apply this revision."""
    _change_executions()
    _change_materializations()


def _change_executions() -> None:
    columns = ["project_id", "recorded_at", "execution_id"]
    op.create_index("ix_executions_newest", "executions", columns, unique=False)


def _change_materializations() -> None:
    columns = ["project_id", "recorded_at", "job_id"]
    op.create_index("ix_materializations_newest", "materializations", columns, unique=False)
