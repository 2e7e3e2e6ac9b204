"""The pages: server-rendered HTML over the rooms' queries, each with a JSON twin.

A server mounts them by name, as the surface ``pages``, so that it imports nothing from here. Commands ask where the
page of a ref is, which needs no page: what draws them is imported when it is first named.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopwright.ui.kit.addresses import page_of

if TYPE_CHECKING:
    from loopwright.ui.routes import page_routes


def __getattr__(name: str) -> Any:
    if name == "page_routes":
        return import_module("loopwright.ui.routes").page_routes
    raise AttributeError(f"module {__name__} has no attribute {name}")


__all__ = ["page_of", "page_routes"]
