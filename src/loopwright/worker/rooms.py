"""Finding every room's verbs (they give answers their types), jobs and step functions."""

import importlib
from importlib.util import find_spec

ROOMS = ("governance", "data", "pipelines", "features", "tracking", "registry", "serving", "monitoring", "loop")
_STORE_VERBS = ("loopwright.store.jobs", "loopwright.store.chunks")


def import_rooms() -> None:
    """Import each room's front door, its ``jobs.py`` and its ``steps.py``, where it has them."""
    for name in _STORE_VERBS:
        importlib.import_module(name)
    for room in ROOMS:
        importlib.import_module(f"loopwright.{room}")
        for part in ("jobs", "steps"):
            if find_spec(f"loopwright.{room}.{part}") is not None:
                importlib.import_module(f"loopwright.{room}.{part}")
