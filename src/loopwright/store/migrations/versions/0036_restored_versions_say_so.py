"""Restored versions say so; of those that are there lineage tells it, and nobody in which role they were restored."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Apply this revision."""
    _change_dataset_versions()
    place = "v.project_id || '/dataset:' || v.dataset || '/'"
    of = f"l.project_id = v.project_id AND l.relation = 'restored_from' AND l.child = {place} || v.version"
    number = f"CAST(substr(l.parent, length({place}) + 1) AS BIGINT)"
    found = f"SELECT {number} FROM lineage AS l WHERE {of}"
    op.execute(f"UPDATE dataset_versions AS v SET restored_from = ({found}) WHERE EXISTS ({found})")


def _change_dataset_versions() -> None:
    op.add_column("dataset_versions", sa.Column("restored_from", sa.BigInteger(), nullable=True))
    op.add_column("dataset_versions", sa.Column("restored_as", sa.Text(), server_default="", nullable=False))
