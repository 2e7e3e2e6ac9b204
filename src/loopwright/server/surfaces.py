"""Surfaces: what else a server answers beside verbs and blobs.

A surface is a function that returns routes. It is named here and imported when a server starts, for it stands right of
this room: the pages read what a server shares, and a server knows no page.
"""

from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute

from loopwright.kernel.plugins import add_built_in, load_plugin, plugin_names

SURFACES = "surfaces"
PAGES = "pages"

add_built_in(SURFACES, {PAGES: "loopwright.ui.routes:page_routes"})


def surface_routes() -> list[BaseRoute]:
    """Return the routes of every installed surface; the pages come last, for they answer each address that is none."""
    names = sorted(plugin_names(SURFACES), key=lambda name: (name == PAGES, name))
    surfaces: list[Callable[[], Sequence[BaseRoute]]] = [load_plugin(SURFACES, name) for name in names]
    return [route for surface in surfaces for route in surface()]
