"""Chunks of labels say of which predictions they tell, so that a window lists those of its own.

What was stored before does not say it: of that, as ever, all is listed that came since the window began.
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

_SORTED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Apply this revision."""
    of = ["project_id", "kind", "stream"]
    op.add_column("chunks", sa.Column("about_first", _SORTED, server_default="", nullable=False))
    op.add_column("chunks", sa.Column("about_last", _SORTED, server_default="", nullable=False))
    op.add_column("chunks", sa.Column("about_prefix", sa.Text(), server_default="", nullable=False))
    op.create_index("ix_chunks_about", "chunks", [*of, "about_first", "event_at_max"])
    op.create_index("ix_chunks_about_prefix", "chunks", [*of, "about_prefix", "about_first", "about_last"])
