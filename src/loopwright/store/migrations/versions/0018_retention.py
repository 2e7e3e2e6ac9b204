"""How long rows of streams are kept, and what was removed."""

import sqlalchemy as sa
from alembic import op

from loopwright.store.columns import SortedText

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "retentions",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("keep_us", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "kind", "stream", name=op.f("pk_retentions")),
    )
    op.create_table(
        "removals",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("removal_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("chunks", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("end_at", sa.BigInteger(), nullable=False),
        sa.Column("id_first", SortedText, nullable=False),
        sa.Column("id_last", SortedText, nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "removal_id", name=op.f("pk_removals")),
    )
    op.create_index("ix_removals_stream", "removals", ["project_id", "kind", "stream", "end_at"], unique=False)
