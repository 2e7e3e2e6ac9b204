"""Chunks name the blob of what is known of their rows, so that windows add that up instead of reading the rows."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("chunks", sa.Column("profile_digest", sa.Text(), server_default="", nullable=False))
