"""Chunks are found by the prefix their ids share and by how long they span; each says how often it was merged."""

import sqlalchemy as sa
from alembic import op

from loopwright.store.intervals import shared_prefix, span_class

revision = "0015"
down_revision = "0014"

_AT_ONCE = 5_000


def upgrade() -> None:
    """Apply this revision."""
    op.drop_index(op.f("ix_chunks_ids"), table_name="chunks")
    op.drop_index(op.f("ix_chunks_stream"), table_name="chunks")
    op.add_column("chunks", sa.Column("id_prefix", sa.Text(), server_default="", nullable=False))
    op.add_column("chunks", sa.Column("span_class", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("chunks", sa.Column("level", sa.BigInteger(), server_default="0", nullable=False))
    _fill()
    op.create_index("ix_chunks_ids", "chunks", ["project_id", "kind", "id_prefix", "id_first", "id_last"], unique=False)
    op.create_index(
        "ix_chunks_span",
        "chunks",
        ["project_id", "kind", "stream", "span_class", "event_at_min", "event_at_max"],
        unique=False,
    )
    op.create_index("ix_chunks_level", "chunks", ["project_id", "kind", "stream", "level", "recorded_at"], unique=False)


def _fill() -> None:
    chunks = sa.table(
        "chunks",
        *(sa.column(name) for name in ("project_id", "chunk_id", "id_first", "id_last", "id_prefix")),
        *(sa.column(name) for name in ("event_at_min", "event_at_max", "span_class")),
    )
    connection = op.get_bind()
    rows = connection.execute(sa.select(chunks)).all()
    is_row = (chunks.c.project_id == sa.bindparam("of_project"), chunks.c.chunk_id == sa.bindparam("of_chunk"))
    change = sa.update(chunks).where(*is_row).values(id_prefix=sa.bindparam("prefix"), span_class=sa.bindparam("span"))
    values = [
        {
            "of_project": row.project_id,
            "of_chunk": row.chunk_id,
            "prefix": shared_prefix(row.id_first, row.id_last),
            "span": span_class(row.event_at_min, row.event_at_max),
        }
        for row in rows
    ]
    for begin in range(0, len(values), _AT_ONCE):
        connection.execute(change, values[begin : begin + _AT_ONCE])
