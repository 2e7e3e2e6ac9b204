"""The online store: recent rows of each (view, entity), to be asked at a moment. Plugin kind ``online_stores``."""

from loopwright.features.online.base import (
    OF_STORE,
    SHORT,
    SLACK_US,
    Forgotten,
    Level,
    Lookup,
    OnlineStore,
    Part,
    Pushed,
    Tried,
    is_of_store,
    open_online_store,
)
from loopwright.features.online.parting import part_projects
from loopwright.features.online.stores import OnlineStores

__all__ = [
    "OF_STORE",
    "SHORT",
    "SLACK_US",
    "Forgotten",
    "Level",
    "Lookup",
    "OnlineStore",
    "OnlineStores",
    "Part",
    "Pushed",
    "Tried",
    "is_of_store",
    "open_online_store",
    "part_projects",
]
