"""Surfaces: routes that a server mounts by name."""

import pytest
from starlette.routing import BaseRoute, Route

from loopwright.kernel import plugins
from loopwright.server.surfaces import PAGES, SURFACES, surface_routes


def another_surface() -> list[BaseRoute]:
    return [Route("/elsewhere", lambda _request: None)]


def test_a_surface_of_another_package_stands_before_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{__name__}:another_surface"
    monkeypatch.setitem(plugins.BUILT_IN, SURFACES, {**plugins.BUILT_IN[SURFACES], "zoo": place})
    paths = [route.path for route in surface_routes() if isinstance(route, Route)]
    assert paths[0] == "/elsewhere"
    assert paths[-1] == "/{path:no_api}"
    assert "/p/{project}" in paths


def test_the_pages_ship_with_the_server() -> None:
    assert PAGES in plugins.plugin_names(SURFACES)
