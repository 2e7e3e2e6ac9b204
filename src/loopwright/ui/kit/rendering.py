"""From a page function to an answer: one snapshot, HTML or its JSON twin, errors as pages that say what to do next."""

import logging
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from loopwright.governance import SYSTEM, Actor, projects
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import LoopwrightError, NotFound, PermissionDenied, Unauthenticated
from loopwright.server import JsonAnswer, ServerContext, error_answer
from loopwright.ui.kit import addresses, assets, distributions, graph, svg, words
from loopwright.ui.kit.actions import ACTIONS
from loopwright.ui.kit.asking import Ask

log = logging.getLogger("loopwright.ui")

THEME_COOKIE = "loopwright_theme"
THEMES = ("auto", "light", "dark")
HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
NAVIGATION = (
    ("Overview", ()),
    ("Data", ("data",)),
    ("Features", ("features",)),
    ("Experiments", ("experiments",)),
    ("Models", ("models",)),
    ("Pipelines", ("pipelines",)),
    ("Deployments", ("deployments",)),
    ("Monitoring", ("monitoring",)),
    ("Incidents", ("incidents",)),
    ("Lineage", ("lineage",)),
    ("Audit", ("audit",)),
    ("Approvals", ("approvals",)),
)


class View(msgspec.Struct, frozen=True):
    """What a page function returns: a template, its navigation entry, and the facts, which are the JSON twin.

    ``extra`` is for the template alone: what is drawn from the facts.
    """

    template: str
    title: str
    section: str
    facts: dict[str, Any]
    extra: dict[str, Any] = {}


class Elsewhere(msgspec.Struct, frozen=True):
    """What a page function returns to lead to another page."""

    path: str


PageFunction = Callable[[Ask], View | Elsewhere]


def page(path: str, shape: PageFunction) -> list[BaseRoute]:
    """Return the routes of a page of a project and of its ``.json`` twin.

    Args:
        path: Below ``/p/{project}``, such as ``/models/{model}``.
        shape: Asks the rooms and shapes what is shown.
    """

    async def as_html(request: Request) -> Response:
        return await run_in_threadpool(_show, request, shape)

    async def as_json(request: Request) -> Response:
        return await run_in_threadpool(_tell, request, shape)

    full = "/p/{project}" + path
    return [Route(f"{full}.json", as_json, methods=["GET"]), Route(full, as_html, methods=["GET"])]


def read_view(
    request: Request, actor: Actor, shape: PageFunction, project: str
) -> tuple[View | Elsewhere, dict[str, Any]]:
    """Run a page function on one snapshot; return what it shapes and what the frame around it shows.

    Of a reader who is refused there is an event.
    """
    if project == SYSTEM and shape.__name__ != "show_projects":
        raise NotFound("no project has this name", field="project", value=project, next_step="see all projects")

    try:
        with Ask(request, actor, project) as ask:
            view = shape(ask)
            return view, {} if isinstance(view, Elsewhere) else _frame(ask)
    except PermissionDenied:
        denials = request.app.state.context.denials
        what = f"page {shape.__name__.removeprefix('show_')}"
        if denials.is_news(actor, what, project):
            denials.note(actor, what, project)
        raise


def _show(request: Request, shape: PageFunction) -> Response:
    context: ServerContext = request.app.state.context
    project = request.path_params["project"]
    try:
        actor = context.gatekeeper.actor(request)
        view, frame = read_view(request, actor, shape, project)
    except Unauthenticated:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?{urlencode({'next': asked})}", status_code=303, headers=HEADERS)
    except LoopwrightError as error:
        return error_page(request, error, project)
    except Exception as error:  # the last line of defence: whatever a page meets, a person reads a page about it
        log.error("unexpected error on %s", request.url.path, exc_info=error)
        return error_page(request, unexpected(), project)
    if isinstance(view, Elsewhere):
        return RedirectResponse(view.path, status_code=303, headers=HEADERS)
    return render(request, view.template, {**frame, "view": view, **view.facts, **view.extra, "actor": actor.name})


def _tell(request: Request, shape: PageFunction) -> Response:
    context: ServerContext = request.app.state.context
    try:
        actor = context.gatekeeper.actor(request)
        view, _ = read_view(request, actor, shape, request.path_params["project"])
    except LoopwrightError as error:
        return error_answer(error)
    if isinstance(view, Elsewhere):
        return RedirectResponse(f"{view.path}.json", status_code=303)
    return JsonAnswer(view.facts, headers={"cache-control": "no-store"})


def _frame(ask: Ask) -> dict[str, Any]:
    """Return what the frame shows: the project, its clock, and how much waits for a person behind two entries."""
    if ask.project == SYSTEM:
        return {"project": None, "counts": {}, "now_us": ask.tx.now_us, "may": ask.may}
    project = ask(projects.get, name=ask.project)
    attention = ask.attention
    counts = {
        "Overview": attention.total,
        "Incidents": attention.incidents,
        "Approvals": attention.by_kind.get("approval", 0),
    }
    return {"project": project, "counts": counts, "now_us": ask.tx.now_us, "may": ask.may}


def unexpected() -> LoopwrightError:
    """Return the error shown where none was foreseen."""
    error = LoopwrightError("something went wrong on our side", next_step="try again; the server's log has the details")
    error.http_status = 500  # type: ignore[misc]
    return error


_HEADINGS = {
    401: "Sign in first",
    403: "Not allowed",
    404: "Not here",
    409: "Not now",
    422: "That does not work",
    503: "Not now",
}


def error_page(request: Request, error: LoopwrightError, project: str = "", back: str = "") -> Response:
    """Return an error as a page: what it is, the rule, and what to do next."""
    facts = {
        "view": View("kit/error.html", _HEADINGS.get(error.http_status, "Error"), "", {}),
        "error": error.to_dict(),
        "status": error.http_status,
        "project_name": project if error.http_status != 404 or error.field != "project" else "",
        "back": back,
        "project": None,
        "counts": {},
        "now_us": 0,
        "may": lambda _name: False,
        "actor": "",
    }
    return render(request, "kit/error.html", facts, error.http_status)


def render(request: Request, template: str, facts: dict[str, Any], status: int = 200) -> Response:
    """Return a template filled with facts; every text in it is escaped."""
    theme = request.cookies.get(THEME_COOKIE, "auto")
    settings = {
        "theme": theme if theme in THEMES else "auto",
        "path": request.url.path,
        "query": dict(request.query_params),
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "is_open": request.app.state.context.gatekeeper.is_open,
        "done": ACTIONS[name].done if (name := request.query_params.get("done", "")) in ACTIONS else "",
    }
    body = environment().get_template(template).render({**settings, **facts})
    return HTMLResponse(body, status_code=status, headers=HEADERS)


@cache
def environment() -> jinja2.Environment:
    """Return the template environment: escapes everything, refuses unknown names."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(
        NAVIGATION=NAVIGATION,
        THEMES=THEMES,
        ACTIONS=ACTIONS,
        asset=assets.asset_path,
        svg=svg,
        w=words,
        draw=distributions,
    )
    made.globals.update(svg=svg, w=words, draw=distributions)
    made.globals.update(address=addresses.address, draw_graph=graph.draw_graph, heat_step=svg.heat_step)
    made.globals.update(new_key=lambda: secrets.token_hex(12), as_json=lambda value: to_json(value).decode())
    made.globals.update(
        page_of=addresses.page_of,
        short_ref=addresses.short_ref,
        name_of=addresses.name_of,
        shown_name=addresses.shown_name,
        shown_ref=addresses.shown_ref,
    )
    return made
