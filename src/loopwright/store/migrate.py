"""Bringing a database to the schema of this version."""

from loopwright.store.columns import METADATA
from loopwright.store.engine import Database


def upgrade(database: Database) -> None:
    """Create what is missing."""
    METADATA.create_all(database.engine)
