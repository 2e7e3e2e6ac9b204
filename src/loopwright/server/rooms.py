"""Importing every room, so that all tables, verbs and reactions are known."""

import importlib

ROOMS = (
    "store",
    "governance",
    "data",
    "pipelines",
    "features",
    "tracking",
    "registry",
    "serving",
    "monitoring",
    "loop",
)
_STORE_VERBS = ("loopwright.store.jobs", "loopwright.store.chunks")


def import_rooms() -> None:
    """Import the front door of each room; a front door imports the modules with its verbs."""
    for room in ROOMS:
        importlib.import_module(f"loopwright.{room}")
    for module in _STORE_VERBS:
        importlib.import_module(module)
