"""Numbers of model versions have 64 bits on PostgreSQL too, so that any number that is asked for is looked up."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"

_COLUMNS = (
    ("models", "versions"),
    ("model_versions", "version"),
    ("model_versions", "refit_of"),
    ("model_aliases", "version"),
    ("gate_reports", "version"),
)


def upgrade() -> None:
    """Apply this revision."""
    if op.get_bind().dialect.name == "postgresql":  # SQLite's have them
        for table, column in _COLUMNS:
            op.alter_column(table, column, type_=sa.BigInteger())
