"""The online store: recent rows of each (view, entity), to be asked at a moment. Plugin kind ``online_stores``."""

from loopwright.features.online.base import SLACK_US, Forgotten, Lookup, OnlineStore, Part, Pushed, open_online_store
from loopwright.features.online.parting import open_project_store, part_projects
from loopwright.features.online.places import online_folder, online_url, remove_stores, stored_projects

__all__ = [
    "SLACK_US",
    "Forgotten",
    "Lookup",
    "OnlineStore",
    "Part",
    "Pushed",
    "online_folder",
    "online_url",
    "open_online_store",
    "open_project_store",
    "part_projects",
    "remove_stores",
    "stored_projects",
]
