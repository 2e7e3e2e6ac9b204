"""Retrains know the version that rolls out."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply this revision."""
    _change_retrains()


def _change_retrains() -> None:
    op.add_column("retrains", sa.Column("version", sa.BigInteger(), nullable=True))
