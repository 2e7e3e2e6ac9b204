"""Rows of a stream are taken once by who says so."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    """Apply this revision."""
    _add_stream_cursors()


def _add_stream_cursors() -> None:
    op.create_table(
        "stream_cursors",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.Text(), nullable=False),
        sa.Column("has_more", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "kind", "stream", name=op.f("pk_stream_cursors")),
    )
