"""The web application of a server."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from loopwright.config import Settings
from loopwright.governance import Dispatcher
from loopwright.kernel.errors import LoopwrightError, NotFound
from loopwright.loop import Reactor
from loopwright.server.answers import JsonAnswer, crash_answer, error_answer
from loopwright.server.api.blobs import get_blob, put_blob
from loopwright.server.api.described import get_description
from loopwright.server.api.verbs import ROUTE, VerbCalls, call_verb
from loopwright.server.auth import Gatekeeper
from loopwright.server.background import Background
from loopwright.server.checkpointing import Checkpointing
from loopwright.server.context import ServerContext
from loopwright.server.denials import Denials
from loopwright.server.metrics import CONTENT_TYPE, OTHER, CountRequests, write_metrics
from loopwright.server.reads import NotedReads
from loopwright.server.signal import CommitSignal
from loopwright.server.surfaces import surface_routes
from loopwright.store.blobs import open_blob_store
from loopwright.store.engine import Database
from loopwright.store.shared_clock import wall_of
from loopwright.wire.checkpoints import open_checkpoints

log = logging.getLogger("loopwright.server")


def make_context(settings: Settings, database: Database, *, is_open: bool) -> ServerContext:
    """Put the parts of a server together on a migrated database."""
    dispatcher = Dispatcher(database, wall_of(database))
    return ServerContext(
        settings=settings,
        database=database,
        dispatcher=dispatcher,
        blobs=open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies"),
        signal=CommitSignal(database),
        gatekeeper=Gatekeeper(dispatcher, settings.service_token, is_open=is_open, rate=settings.rate),
        reactor=Reactor(dispatcher),
        denials=Denials(dispatcher),
        checkpoints=open_checkpoints(settings),
        noted_reads=NotedReads(dispatcher),
    )


def create_app(context: ServerContext) -> Starlette:
    """Return the ASGI application; its background loops live as long as it does."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        background, signing = Background(context), Checkpointing(context.dispatcher, context.checkpoints)
        background.start()
        signing.start()
        try:
            yield
        finally:
            context.stop_waiting()
            background.stop()
            signing.stop()  # what the others did is under its last word
            context.close()

    routes = [
        Route("/healthz", _health),
        Route("/metrics", _tell_metrics),
        Route(ROUTE, call_verb, methods=["POST"]),
        Route("/v1/openapi.json", get_description),
        Route("/v1/{project}/blobs", put_blob, methods=["PUT"]),
        Route("/v1/{project}/blobs/{digest}", get_blob, methods=["GET"]),
        *surface_routes(),
    ]
    handlers: dict[Any, Any] = {LoopwrightError: _on_error, Exception: _on_crash, ClientDisconnect: _on_gone}
    handlers |= {404: _on_missing, 405: _on_wrong_method}
    counting = Middleware(CountRequests, metrics=context.metrics, routes=routes)
    return ServerApp(context, routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=[counting])


class ServerApp(Starlette):
    """The application; calls of verbs are answered before it looks at them.

    Args:
        context: The server's parts.
        options: Of the application.
    """

    def __init__(self, context: ServerContext, **options: Any) -> None:
        super().__init__(**options)
        self.router.redirect_slashes = False  # it would lead to whatever host the request names
        self.state.context = context
        self._answer = VerbCalls(super().__call__, context)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; an address with a NUL names nothing, and no database would look it up."""
        if scope["type"] == "http" and "\0" in scope["path"]:
            rule = "an address without NUL"
            error = NotFound("no such address", field="address", value=scope["path"], rule=rule)
            context: ServerContext = self.state.context
            context.metrics.count_request(scope["method"], OTHER, error.http_status)
            await error_answer(error)(scope, receive, send)
            return
        await self._answer(scope, receive, send)


async def _health(request: Request) -> Response:
    context: ServerContext = request.app.state.context
    why, is_open = context.database.failure, context.gatekeeper.is_open
    if why:
        told = "the database does not answer" if context.database.is_away else "the database cannot be written"
        return JsonAnswer({"status": "not ready", "why": [told], "open": is_open}, 503)
    return JsonAnswer({"status": "ok", "open": is_open})


async def _tell_metrics(request: Request) -> Response:
    context: ServerContext = request.app.state.context
    actor = await context.gatekeeper.find_actor(request)
    body = await run_in_threadpool(write_metrics, context.metrics, context.dispatcher, actor)
    return Response(body, media_type=CONTENT_TYPE)


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LoopwrightError)
    return error_answer(error)


async def _on_missing(request: Request, _error: Exception) -> Response:
    return JsonAnswer(
        {"error": {"code": "not_found", "message": "no such address", "value": request.url.path}}, status_code=404
    )


async def _on_wrong_method(request: Request, error: HTTPException) -> Response:
    allowed = (error.headers or {}).get("Allow", "")
    facts = {"message": "this address is not asked so", "field": "method", "value": request.method, "rule": allowed}
    headers = {"allow": allowed}
    return JsonAnswer({"error": {"code": "method_not_allowed", **facts}}, status_code=405, headers=headers)


async def _on_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # nobody is there to read it


async def _on_crash(request: Request, error: Exception) -> Response:
    log.error("unexpected error on %s", request.url.path, exc_info=error)
    return crash_answer()
