"""The pages: server-rendered HTML over the rooms' queries, each with a JSON twin.

A server mounts them by name, as the surface ``pages``, so that it imports nothing from here.
"""

from loopwright.ui.routes import page_routes

__all__ = ["page_routes"]
