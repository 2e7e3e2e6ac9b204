"""A run says since when only the last point of each of its metrics is there."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("runs", sa.Column("points_removed_at", sa.BigInteger()))
    has_points = sa.text("points_removed_at IS NULL")
    op.create_index(
        "ix_runs_with_points",
        "runs",
        ["project_id", "experiment", "finished_at"],
        sqlite_where=has_points,
        postgresql_where=has_points,
    )
