"""``/``: the projects, or the only one."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from loopwright.governance import SYSTEM, projects
from loopwright.kernel.errors import LoopwrightError, NotFound, Unauthenticated
from loopwright.server import JsonAnswer, ServerContext, error_answer
from loopwright.ui.kit.addresses import address
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.rendering import HEADERS, Elsewhere, View, error_page, read_view, render


def show_projects(ask: Ask) -> View | Elsewhere:
    """Return the projects the caller may see; the only one is shown at once."""
    found = ask(projects.list_projects)
    if len(found) == 1 and not ask.asked("all"):
        return Elsewhere(address(found[0].name))
    return View("governance/projects.html", "Projects", "", {"projects": found[:100]})


async def show_home(request: Request) -> Response:
    """Answer ``/``."""
    return await run_in_threadpool(_show, request)


def _show(request: Request) -> Response:
    context: ServerContext = request.app.state.context
    try:
        actor = context.gatekeeper.actor(request)
        view, frame = read_view(request, actor, show_projects, SYSTEM)
    except Unauthenticated:
        return RedirectResponse("/sign-in", status_code=303, headers=HEADERS)
    except LoopwrightError as error:
        return error_page(request, error)
    if isinstance(view, Elsewhere):
        return RedirectResponse(view.path, status_code=303, headers=HEADERS)
    return render(request, view.template, {**frame, "view": view, **view.facts, "actor": actor.name})


async def tell_projects(request: Request) -> Response:
    """Answer ``/projects.json``."""
    context: ServerContext = request.app.state.context
    try:
        actor = await context.gatekeeper.find_actor(request)
        found = await run_in_threadpool(context.dispatcher.call, "projects.list", {}, actor=actor, project=SYSTEM)
    except LoopwrightError as error:
        return error_answer(error)
    return JsonAnswer({"projects": found})


async def show_missing(request: Request) -> Response:
    """Answer an address that is none: as a page to a browser, as JSON to a program."""
    error = NotFound("no such address", field="address", value=request.url.path, next_step="start at the overview")
    if "text/html" not in request.headers.get("accept", ""):
        return error_answer(error)
    return await run_in_threadpool(error_page, request, error)
