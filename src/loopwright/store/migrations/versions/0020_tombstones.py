"""What is deleted leaves a tombstone: its ref still says when it went, by whom and why."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "tombstones",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger()),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("forgotten_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("project_id", "ref", name=op.f("pk_tombstones")),
    )
    op.create_index("ix_tombstones_name", "tombstones", ["project_id", "kind", "name", "version"])
    is_left = sa.text("forgotten_at IS NULL")
    op.create_index(
        "ix_tombstones_rows_left",
        "tombstones",
        ["project_id", "ref"],
        sqlite_where=is_left,
        postgresql_where=is_left,
    )
