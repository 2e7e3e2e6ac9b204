"""The pages: server-rendered HTML over the rooms' queries, each with a JSON twin.

A server mounts them by name, as the surface ``pages``, so that it imports nothing from here. Commands ask where the
page of a ref is, which needs no page: what draws them is imported when it is first named.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.ui.kit.addresses import page_of
    from loopwright.ui.routes import page_routes

__getattr__ = later(__name__)

__all__ = ["page_of", "page_routes"]
