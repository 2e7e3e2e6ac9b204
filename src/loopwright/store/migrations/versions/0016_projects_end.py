"""Projects are closed and deleted.

Revision ID: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("projects", sa.Column("closed_at", sa.BigInteger(), nullable=True))
    op.add_column("projects", sa.Column("deleted_at", sa.BigInteger(), nullable=True))
