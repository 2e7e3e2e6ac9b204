"""Dataset versions have tags."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    """Apply this revision."""
    _add_dataset_tags()


def _add_dataset_tags() -> None:
    op.create_table(
        "dataset_tags",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "dataset", "tag", name=op.f("pk_dataset_tags")),
    )
