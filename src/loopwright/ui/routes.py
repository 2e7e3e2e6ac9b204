"""Every address of the pages."""

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import BaseRoute, Route

from loopwright.ui.kit import assets, forms
from loopwright.ui.pages.data import datasets, diffs, versions
from loopwright.ui.pages.features import views
from loopwright.ui.pages.governance import audit, home, lineage
from loopwright.ui.pages.loop import overview, search
from loopwright.ui.pages.monitoring import incidents, monitors
from loopwright.ui.pages.pipelines import executions
from loopwright.ui.pages.registry import models
from loopwright.ui.pages.serving import deployments, predictions
from loopwright.ui.pages.tracking import experiments

PAGES = (
    overview,
    datasets,
    diffs,
    versions,
    views,
    experiments,
    models,
    executions,
    deployments,
    monitors,
    incidents,
    lineage,
    audit,
    predictions,
    search,
)


class _NoApi(Convertor[str]):
    """Any path but those of the interface, whose own routes say what there is."""

    regex = "(?!v1/).*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("no_api", _NoApi())


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
        Route("/{path:no_api}", home.show_missing, methods=["GET"]),
    ]
