"""Outputs that are kept for steps to come say when one was last spared by them, so that what nobody uses goes."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("step_cache", sa.Column("used_at", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE step_cache SET used_at = recorded_at")
    op.create_index("ix_step_cache_used", "step_cache", ["used_at"])
