"""Projects take turns in a lane."""

from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Apply this revision."""
    _change_jobs()


def _change_jobs() -> None:
    op.create_index("ix_jobs_turn", "jobs", ["state", "lane", "project_id", "due_at"], unique=False)
