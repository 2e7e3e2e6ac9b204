"""Versions say how their columns were read."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Apply this revision."""
    _change_dataset_versions()


def _change_dataset_versions() -> None:
    op.add_column("dataset_versions", sa.Column("raw", sa.Text(), server_default="[]", nullable=False))
