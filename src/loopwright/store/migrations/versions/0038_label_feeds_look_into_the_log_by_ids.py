"""Label feeds look into the log by ids."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    """Apply this revision."""
    _change_chunks()
    _change_label_feeds()


def _change_chunks() -> None:
    op.create_index("ix_chunks_end", "chunks", ["project_id", "kind", "stream", "id_last", "chunk_id"], unique=False)


def _change_label_feeds() -> None:
    op.add_column("label_feeds", sa.Column("looked_at", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("label_feeds", sa.Column("has_more", sa.Boolean(), server_default=sa.false(), nullable=False))
