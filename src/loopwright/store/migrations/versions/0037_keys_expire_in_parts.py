"""Idempotency keys expire in parts."""

from alembic import op

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    """Apply this revision."""
    op.create_index("ix_idempotency_keys_recorded", "idempotency_keys", ["recorded_at"], unique=False)
