"""POST handlers: a form calls a verb under the caller's own permission and leads back to its page."""

from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from loopwright.governance import SESSION_LENGTH_US, SESSION_PREFIX, SYSTEM
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.errors import InvalidInput, LoopwrightError, NotFound, PermissionDenied, Unauthenticated
from loopwright.server import SESSION_COOKIE, ServerContext, read_body
from loopwright.ui.kit.actions import ACTIONS, Action
from loopwright.ui.kit.addresses import local_path
from loopwright.ui.kit.asking import MOST_DIGITS
from loopwright.ui.kit.rendering import HEADERS, THEME_COOKIE, THEMES, View, error_page, render
from loopwright.wire.exposure import refuse_foreign_origin

MOST_FORM_BYTES = 64 * 1024
_YEAR_S = 365 * 24 * 3600


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; the last one of a name counts.

    Raises:
        InvalidInput: The body is no form.
    """
    body = await read_body(request, MOST_FORM_BYTES)
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise InvalidInput("this form cannot be read", field="body", rule="url-encoded text") from None
    return {name: values[-1] for name, values in fields.items()}


async def act(request: Request) -> Response:
    """Call the verb of a form."""
    project, name = request.path_params["project"], request.path_params["verb"]
    back = ""
    try:
        form = await read_form(request)
        back = local_path(form.get("back", ""), f"/p/{project}")
        action = _find_action(name)
        await _call(request, project, action, form)
    except Unauthenticated:
        return RedirectResponse(f"/sign-in?{urlencode({'next': back})}", status_code=303, headers=HEADERS)
    except LoopwrightError as error:
        return error_page(request, error, project, back)
    path, _, query = back.partition("?")
    kept = "&".join(part for part in query.split("&") if part and not part.startswith("done="))
    query = f"{kept}&done={name}" if kept else f"done={name}"
    return RedirectResponse(f"{path}?{query}", status_code=303, headers=HEADERS)


def _find_action(name: str) -> Action:
    if name not in ACTIONS:
        raise NotFound("no form does this", field="verb", value=name, next_step="use the command line or the API")
    return ACTIONS[name]


async def _call(request: Request, project: str, action: Action, form: dict[str, str]) -> None:
    """Call the verb; of a call that is refused there is an event, as where it comes by the API."""
    context: ServerContext = request.app.state.context
    client = request.scope.get("client")
    actor = await context.find_actor(request.method, request.headers, client, action.name, project)
    args, key = _arguments(action, form)
    call = partial(context.dispatcher.call, action.name, args, actor=actor, project=project, idempotency_key=key)
    try:
        await run_in_threadpool(call)
    except PermissionDenied:
        await context.denials.tell(actor, action.name, project)
        raise


def _arguments(action: Action, form: dict[str, str]) -> tuple[dict[str, Any], str | None]:
    """Return the arguments of a form's verb, and its idempotency key."""
    args: dict[str, Any] = {name: form.get(name, "") for name in action.fields}
    for name in action.numbers:
        if not form.get(name, "").isdecimal() or len(form[name]) > MOST_DIGITS:
            raise InvalidInput("this is not a whole number", field=name, value=form.get(name, ""))
        args[name] = int(form[name])
    reason = form.get("reason", "").strip()
    if action.needs_reason and not reason:
        raise InvalidInput(
            "a reason is needed",
            field="reason",
            rule="a few words; they are kept in the audit trail",
            next_step="go back",
        )
    if action.reason:
        args[action.reason] = reason
    key = form.get("key") or None
    if key is not None and "\0" in key:
        raise InvalidInput("a NUL stands in this text", field="key", value=key, rule="text without NUL")
    return args, key


async def set_theme(request: Request) -> Response:
    """Keep the chosen theme in a cookie and lead back."""
    form = await read_form(request)
    theme = form.get("theme", "auto")
    answer = RedirectResponse(local_path(form.get("back", "")), status_code=303, headers=HEADERS)
    answer.set_cookie(THEME_COOKIE, theme if theme in THEMES else "auto", max_age=_YEAR_S, samesite="strict")
    return answer


async def show_sign_in(request: Request) -> Response:
    """Show the form that takes a token."""
    return _sign_in_page(request, local_path(request.query_params.get("next", "")), "")


async def sign_in(request: Request) -> Response:
    """Check a token and begin a session; its secret is in a cookie that no script can read, the token is in none."""
    context: ServerContext = request.app.state.context
    form = await read_form(request)
    following = local_path(form.get("next", ""))
    try:
        _refuse_other_sites(request)
        token = form.get("token", "").strip()
        session = await run_in_threadpool(context.gatekeeper.begin_session, token, request.scope.get("client"))
    except LoopwrightError as error:
        if isinstance(error, Unauthenticated):
            await context.denials.tell_of_stranger(request.scope.get("client"), "sign in", SYSTEM)
        return _sign_in_page(request, following, error.message, error.http_status)
    answer = RedirectResponse(following, status_code=303, headers=HEADERS)
    # Behind a proxy the request itself came without TLS; a header that lies here only makes the cookie useless.
    is_secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    age_s = SESSION_LENGTH_US // SECOND_US
    answer.set_cookie(
        SESSION_COOKIE, session, max_age=age_s, path="/", httponly=True, samesite="strict", secure=is_secure
    )
    return answer


async def sign_out(request: Request) -> Response:
    """End the session, here and in the browser."""
    context: ServerContext = request.app.state.context
    answer = RedirectResponse("/sign-in", status_code=303, headers=HEADERS)
    try:
        _refuse_other_sites(request)
        await _end_session(context, request)
    except LoopwrightError as error:
        return _sign_in_page(request, "/", error.message, error.http_status)
    answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    return answer


async def _end_session(context: ServerContext, request: Request) -> None:
    session = request.cookies.get(SESSION_COOKIE, "")
    if session.startswith(SESSION_PREFIX):
        with suppress(Unauthenticated):  # it is over already
            await run_in_threadpool(context.gatekeeper.end_session, session, request.scope.get("client"))


def _refuse_other_sites(request: Request) -> None:
    refuse_foreign_origin(request.headers.get("origin"), request.headers.get("host", ""))


def _sign_in_page(request: Request, following: str, message: str, status: int = 200) -> Response:
    view = View("kit/sign_in.html", "Sign in", "", {})
    facts = {"view": view, "next": following, "message": message, "project": None, "counts": {}, "now_us": 0}
    return render(request, "kit/sign_in.html", {**facts, "actor": "", "may": lambda _name: False}, status)
