"""Approvals name who may not decide, for they had a hand in what waits; older ones bar who asked."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("approvals", sa.Column("excluded", sa.Text(), nullable=True))
