"""What chunks were that became one is kept, so that whoever sends one again is recognised."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "merged_chunks",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("chunk_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("id_first", sa.Text(), nullable=False),
        sa.Column("id_last", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "writer", "seq", "kind", "stream", name=op.f("pk_merged_chunks")),
    )
    op.create_index("ix_merged_chunks_chunk", "merged_chunks", ["project_id", "chunk_id"], unique=False)
