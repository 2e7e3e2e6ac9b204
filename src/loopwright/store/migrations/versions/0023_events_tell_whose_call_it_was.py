"""Events tell the token and the address of the call that made them; those of before do not, and keep their hashes."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("events", sa.Column("token_id", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("client", sa.Text(), nullable=True))
