"""Jobs wait in lanes, are tried again at a time, may be cancelled, are kept for a time; events are found by ref."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_DAY_US = 86_400_000_000


def upgrade() -> None:
    """Apply this revision."""
    _change_events()
    _change_jobs()
    _fill_jobs()


def _change_events() -> None:
    op.drop_index(op.f("ix_events_project_ref"), table_name="events")
    if op.get_bind().dialect.name == "postgresql":  # SQLite compares letter by letter already
        op.alter_column("events", "ref", type_=sa.Text(collation="C"), existing_nullable=False)
    op.create_index("ix_events_project_ref", "events", ["project_id", "ref", "position"], unique=False)


def _change_jobs() -> None:
    op.add_column("jobs", sa.Column("lane", sa.Text(), server_default="work", nullable=False))
    op.add_column("jobs", sa.Column("due_at", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("cancel_reason", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.drop_index(op.f("ix_jobs_state"), table_name="jobs")
    op.create_index("ix_jobs_state", "jobs", ["project_id", "state", "recorded_at"], unique=False)
    op.create_index("ix_jobs_due", "jobs", ["state", "lane", "due_at"], unique=False)
    op.create_index("ix_jobs_expires", "jobs", ["expires_at"], unique=False)
    op.create_index("ix_jobs_kind", "jobs", ["project_id", "kind", "state", "recorded_at"], unique=False)
    op.create_index("ix_jobs_recorded", "jobs", ["project_id", "recorded_at"], unique=False)
    op.create_index("ix_jobs_ref", "jobs", ["project_id", "ref", "recorded_at"], unique=False)


def _fill_jobs() -> None:
    """Put what is queued into its lane; what has ended is dropped in a month, batches that were scored never."""
    op.execute("UPDATE jobs SET due_at = recorded_at")
    op.execute("UPDATE jobs SET lane = 'training' WHERE kind = 'pipelines.execute'")
    op.execute("UPDATE jobs SET lane = 'looks' WHERE kind IN ('serving.judge_step', 'monitoring.deliver_alert')")
    op.execute(
        f"UPDATE jobs SET expires_at = finished_at + {30 * _DAY_US} "
        "WHERE finished_at IS NOT NULL AND kind <> 'serving.score'"
    )
