"""The verbs a client knows: importing the rooms gives each answer its type."""

import importlib
from functools import cache
from typing import Any

from loopwright.kernel.verbs import VERBS

_ROOMS = ("governance", "data", "pipelines", "features", "tracking", "registry", "serving", "monitoring", "loop")


@cache
def import_rooms() -> None:
    """Import the front door of each room and the verbs of the store."""
    for room in _ROOMS:
        importlib.import_module(f"loopwright.{room}")
    for module in ("jobs", "chunks"):
        importlib.import_module(f"loopwright.store.{module}")


def find_return_type(verb: str) -> Any:
    """Return the type of a verb's answer; None where the verb is unknown here or answers nothing."""
    import_rooms()
    found = VERBS.get(verb)
    return None if found is None or found.types.get("return") is type(None) else found.types.get("return")
