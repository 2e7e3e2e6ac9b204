"""The rooms from left to right, and importing them, so that every verb, table, event and kind of job is known."""

import importlib
from functools import cache
from importlib.util import find_spec

ROOMS = ("governance", "data", "pipelines", "features", "tracking", "registry", "serving", "monitoring", "loop")
"""The rooms that have verbs, beside those of ``store``; a room imports only rooms to its left."""
_STORE_VERBS = (
    "loopwright.store.jobs",
    "loopwright.store.chunks",
    "loopwright.store.compacting",
    "loopwright.store.retention",
)


@cache
def import_rooms(*parts: str) -> None:
    """Import the verbs of the store and the front door of each room, which imports the modules with its verbs.

    Args:
        parts: Further modules of a room, imported where it has them: ``jobs`` is the worker's alone.
    """
    for name in _STORE_VERBS:
        importlib.import_module(name)
    for room in ROOMS:
        importlib.import_module(f"loopwright.{room}")
        for part in parts:
            if find_spec(f"loopwright.{room}.{part}") is not None:
                importlib.import_module(f"loopwright.{room}.{part}")
