"""The pages: server-rendered HTML over the rooms' queries, each with a JSON twin."""

from starlette.routing import BaseRoute, Route

from loopwright.server.ui import assets, forms, home
from loopwright.server.ui.pages import (
    audit,
    datasets,
    deployments,
    experiments,
    features,
    incidents,
    lineage,
    models,
    monitoring,
    overview,
    pipelines,
    predictions,
    search,
)

PAGES = (
    overview,
    datasets,
    features,
    experiments,
    models,
    pipelines,
    deployments,
    monitoring,
    incidents,
    lineage,
    audit,
    predictions,
    search,
)


def page_routes() -> list[BaseRoute]:
    """Return the routes of every page; an address that is none comes last."""
    return [
        Route("/", home.show_home, methods=["GET"]),
        Route("/projects.json", home.tell_projects, methods=["GET"]),
        Route("/static/{name:path}", assets.serve_asset, methods=["GET"]),
        Route("/theme", forms.set_theme, methods=["POST"]),
        Route("/sign-in", forms.show_sign_in, methods=["GET"]),
        Route("/sign-in", forms.sign_in, methods=["POST"]),
        Route("/sign-out", forms.sign_out, methods=["POST"]),
        Route("/p/{project}/do/{verb}", forms.act, methods=["POST"]),
        *(route for module in PAGES for route in module.ROUTES),
        Route("/{path:path}", home.show_missing, methods=["GET"]),
    ]
