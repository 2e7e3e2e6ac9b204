"""Labels complete datasets."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Apply this revision."""
    _change_label_feeds()


def _change_label_feeds() -> None:
    op.create_table(
        "label_feeds",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "deployment", name=op.f("pk_label_feeds")),
    )
