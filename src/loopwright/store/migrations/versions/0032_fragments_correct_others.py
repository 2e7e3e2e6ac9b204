"""Fragments correct others."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Apply this revision."""
    _change_dataset_fragments()


def _change_dataset_fragments() -> None:
    op.add_column("dataset_fragments", sa.Column("kind", sa.Text(), server_default="rows", nullable=False))
    op.add_column("dataset_fragments", sa.Column("targets", sa.Text(), server_default="[]", nullable=False))
