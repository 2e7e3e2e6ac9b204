"""Chunks are found by their newest row; nothing replaces a chunk."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply this revision."""
    _change_chunks()


def _change_chunks() -> None:
    op.drop_index(op.f("ix_chunks_stream"), table_name="chunks")
    op.create_index(
        "ix_chunks_stream", "chunks", ["project_id", "kind", "stream", "event_at_max", "event_at_min"], unique=False
    )
    op.drop_column("chunks", "replaced_by")
