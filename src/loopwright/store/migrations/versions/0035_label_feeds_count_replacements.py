"""Label feeds count replacements."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Apply this revision."""
    _change_label_feeds()


def _change_label_feeds() -> None:
    op.add_column("label_feeds", sa.Column("replacements", sa.BigInteger(), server_default="0", nullable=False))
