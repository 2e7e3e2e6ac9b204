"""The online store: recent rows of each (view, entity), to be asked at a moment. Plugin kind ``online_stores``."""

from loopwright.features.online.base import ONLINE_FILE, Forgotten, Lookup, OnlineStore, Part, Pushed, open_online_store

__all__ = ["ONLINE_FILE", "Forgotten", "Lookup", "OnlineStore", "Part", "Pushed", "open_online_store"]
