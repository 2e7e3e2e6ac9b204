"""A disk of a server that runs full is told of before it takes nothing more."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "low_disks",
        sa.Column("disk", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("disk", name=op.f("pk_low_disks")),
    )
