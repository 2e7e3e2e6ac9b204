"""Gateways tell their troubles."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply this revision."""
    _change_gateways()


def _change_gateways() -> None:
    op.add_column("gateways", sa.Column("troubles", sa.Text(), nullable=True))
