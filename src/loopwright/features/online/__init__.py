"""The online store: recent rows of each (view, entity), to be asked at a moment. Plugin kind ``online_stores``."""

from loopwright.features.online.base import Lookup, OnlineStore, Part, Pushed, open_online_store

__all__ = ["Lookup", "OnlineStore", "Part", "Pushed", "open_online_store"]
