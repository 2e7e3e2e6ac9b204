"""Gateways tell which releases they could not load."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply this revision."""
    _change_gateways()


def _change_gateways() -> None:
    op.add_column("gateways", sa.Column("failures", sa.Text(), nullable=True))
