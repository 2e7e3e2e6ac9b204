"""One address for every verb and query: ``POST /v1/{project}/verbs/{name}`` with JSON arguments.

These calls are most of what a server is asked, and each costs as much as the way to it: they are answered ahead of the
router, their arguments are decoded once into what the verb takes, and a thread answers many before it wakes the event
loop. On SQLite the writer's thread does what changes rows and few threads read.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from loopwright.governance import Actor, check_arguments, check_permission, find_verb, read_arguments
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import InvalidInput, LoopwrightError, PermissionDenied
from loopwright.kernel.verbs import Verb
from loopwright.loop import OperationContext
from loopwright.server.answers import JSON_HEADERS, MOST_BODY_BYTES, crash_answer, error_answer, read_body
from loopwright.server.context import ServerContext
from loopwright.store import sql as store_sql
from loopwright.store.jobs import ONE_OF_EACH
from loopwright.store.news import JOBS
from loopwright.store.sql import Prospect

ROUTE = "/v1/{project}/verbs/{name}"
MOST_WAIT_S = 30.0
MOST_OPERATIONS = 4
"""Operations of one project that run at once."""
MOST_PUBLIC_BYTES = 4 << 20
"""Of the body of a call that people make; rows are sent as blobs."""
READ_HERE_BYTES = 32 << 10
"""A body up to this size is read in the event loop; more would let everybody else wait."""
LOOK_EVERY_S = 2.0
"""How often a waiting call looks although nobody gave word: for leases that have run out, and words that were lost."""

_EMPTY = (b"[]", b"{}", b"null", b'""', b"0", b"false")
"""Answers that hold nothing yet."""
T = TypeVar("T")
RawHeaders = list[tuple[bytes, bytes]]

log = logging.getLogger("loopwright.server")


class Asked(NamedTuple):
    """One call as it came: who calls which verb where, and with what. ``headers`` are named in small letters."""

    called: Verb
    actor: Actor
    project: str
    body: bytes
    headers: Mapping[str, str]
    is_gone: Callable[[], Awaitable[bool]]
    """Says whether the caller has gone away."""


class VerbCalls:
    """Answers the calls of verbs, ahead of an application, which answers everything else.

    Args:
        app: The application.
        context: The server's parts.
    """

    def __init__(self, app: ASGIApp, context: ServerContext) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call of a verb, or have the application answer."""
        target = _target(scope)
        if target is None:
            await self._app(scope, receive, send)
            return
        status, headers, body = await self._answer(scope, receive, *target)
        self._context.metrics.count_request("POST", ROUTE, status)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, project: str, name: str) -> tuple[int, RawHeaders, bytes]:
        # Where a header came twice, the first counts.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        request = Request(scope, receive)
        answer: Response
        try:
            actor = await self._context.find_actor("POST", headers, scope.get("client"), name, project)
            called = find_verb(name)
            sent = await read_body(request, _most_bytes(called, actor, project))
            asked = Asked(called, actor, project, sent, headers, request.is_disconnected)
            body = await _answer(self._context, asked, scope["query_string"])
        except LoopwrightError as error:
            answer = error_answer(error)
        except Exception as error:
            log.exception("unexpected error on %s", scope["path"], exc_info=error)
            answer = crash_answer()
        else:
            return 200, [*JSON_HEADERS, (b"content-length", b"%d" % len(body))], body
        return answer.status_code, answer.raw_headers, bytes(answer.body)


async def call_verb(request: Request) -> Response:
    """Call a verb or query, by an address that only the router takes apart, such as one with encoded letters."""
    context: ServerContext = request.app.state.context
    project, name = request.path_params["project"], request.path_params["name"]
    actor = await context.find_actor("POST", request.headers, request.scope.get("client"), name, project)
    called = find_verb(name)
    sent = await read_body(request, _most_bytes(called, actor, project))
    asked = Asked(called, actor, project, sent, request.headers, request.is_disconnected)
    body = await _answer(context, asked, request.scope["query_string"])
    return Response(body, media_type="application/json")


def _target(scope: Scope) -> tuple[str, str] | None:
    """Return project and name of the verb that an address names letter by letter."""
    if scope["type"] != "http" or scope["method"] != "POST" or b"%" in scope.get("raw_path", b""):
        return None
    parts = scope["path"].split("/")
    if len(parts) != 5 or parts[1] != "v1" or parts[3] != "verbs" or not parts[2] or not parts[4]:
        return None
    return parts[2], parts[4]


async def _answer(context: ServerContext, asked: Asked, query: bytes) -> bytes:
    """Return the JSON that answers a call; of one that is refused, by its rule or by the verb's own, is an event."""
    try:
        check_permission(asked.called, asked.actor, asked.project)
        return await _answer_admitted(context, asked, query)
    except PermissionDenied:
        await context.denials.tell(asked.actor, asked.called.name, asked.project)
        raise


async def _answer_admitted(context: ServerContext, asked: Asked, query: bytes) -> bytes:
    """Return the JSON that answers a call. ``?wait_s=N`` repeats a query until its answer is not empty."""
    wait_s = _wait_s(query) if query else 0.0
    if wait_s > 0:
        return await _answer_once_filled(context, asked, wait_s)
    started = time.perf_counter()
    try:
        return await _answer_now(context, asked)
    finally:
        context.metrics.observe_verb(asked.called.name, time.perf_counter() - started)


async def _answer_now(context: ServerContext, asked: Asked) -> bytes:
    called, key = asked.called, asked.headers.get("idempotency-key")
    if called.is_query or called.is_operation or key is None:
        values = await _read(context, len(asked.body), lambda: read_arguments(called, asked.body))
        if called.is_query:
            return await _ask(context, asked, values)
        if called.is_operation:
            return await _operate_in_turn(context, asked, values)
        return to_json(await _change(context, asked, values))

    def read_both() -> tuple[dict[str, Any], dict[str, Any]]:
        given = from_json(asked.body or b"{}", dict[str, Any])
        return given, check_arguments(called, given)

    args, values = await _read(context, len(asked.body), read_both)
    return to_json(await _change(context, asked, values, once=(key, args)))


async def _read(context: ServerContext, size: int, read: Callable[[], T]) -> T:
    """Read arguments of so many bytes: here where that takes no time, else in one of few threads."""
    if size <= READ_HERE_BYTES:
        return read()
    return await to_thread.run_sync(read, limiter=context.large_bodies)


def _most_bytes(called: Verb, actor: Actor, project: str) -> int:
    """Return how large the body of a call may be; what only the platform itself says may hold rows."""
    if called.surface != "internal":
        return MOST_PUBLIC_BYTES
    try:
        check_permission(called, actor, project)
    except PermissionDenied:  # which it is told once its body is there
        return MOST_PUBLIC_BYTES
    return MOST_BODY_BYTES


async def _ask(context: ServerContext, asked: Asked, values: dict[str, Any]) -> bytes:
    """Return the answer of a query; whoever asks it writes it as JSON too."""
    called, actor, project = asked.called, asked.actor, asked.project
    ask = context.dispatcher.ask
    body: bytes = await context.readers.answer(
        called.name,
        lambda budget_s: to_json(ask(called, values, actor, project, budget_s=budget_s)),
        is_large=len(asked.body) > READ_HERE_BYTES,
    )
    return body


async def _change(
    context: ServerContext, asked: Asked, values: dict[str, Any], once: tuple[str, dict[str, Any]] | None = None
) -> Any:
    """Call a verb; return its result once it is durable."""
    slip = context.mailbox.slip()
    work = context.dispatcher.work(asked.called, values, asked.actor, asked.project, once=once)
    if context.database.is_sqlite:
        context.database.submit_for(slip, work)
    else:
        context.writers.submit(context.database.submit_for, slip, work)
    return await slip.waiting


async def _operate_in_turn(context: ServerContext, asked: Asked, values: dict[str, Any]) -> bytes:
    """Run an operation in a thread; those of one project that are more than a few wait, and nobody else does.

    One takes as long as what it waits for. The threads that look up tokens, read blobs and draw pages are others.
    """
    limit = context.operation_limits.get(asked.project)
    if limit is None:
        limit = context.operation_limits[asked.project] = CapacityLimiter(MOST_OPERATIONS)
    return to_json(await to_thread.run_sync(_operate, context, asked, values, limiter=limit))


def _operate(context: ServerContext, asked: Asked, values: dict[str, Any]) -> Any:
    """Run a story of the server that is more than one transaction."""
    inside = OperationContext(
        dispatcher=context.dispatcher,
        blobs=context.blobs,
        reactor=context.reactor,
        wait=context.signal.wait,
        service_token=context.settings.service_token,
        project=asked.project,
        actor=asked.actor,
        state_dir=context.settings.state_dir,
        checkpoints=context.checkpoints,
        note_read=partial(context.noted_reads.note, asked.actor, asked.project),
    )
    return asked.called.function(inside, **values)


async def _answer_once_filled(context: ServerContext, asked: Asked, wait_s: float) -> bytes:
    name = asked.called.name
    if not asked.called.is_query and name != "jobs.claim":
        raise InvalidInput("only queries can wait", field="wait_s", value=name, next_step="leave wait_s out")
    values = await _read(context, len(asked.body), lambda: read_arguments(asked.called, asked.body))
    deadline = asyncio.get_running_loop().time() + wait_s
    # What a query may answer anew is told by events whose types begin as its name does.
    topic = JOBS if name == "jobs.claim" else name.partition(".")[0]
    while True:
        seen = context.signal.seen(topic)
        answer, next_s = await _try_to_fill(context, asked, values)
        left = deadline - asyncio.get_running_loop().time()
        if answer not in _EMPTY or left <= 0 or context.is_stopping:
            return answer
        await context.signal.wait_async(seen, min(left, next_s), topic)


async def _try_to_fill(context: ServerContext, asked: Asked, values: dict[str, Any]) -> tuple[bytes, float]:
    """Return an answer, which may be empty, and after how many seconds it is worth asking again."""
    started = time.perf_counter()
    try:
        if asked.called.is_query:
            return await _ask(context, asked, values), LOOK_EVERY_S
        # Look before claiming: an idle worker does not write at every commit, and one that is gone takes no job.
        prospect = await run_in_threadpool(_look_for_jobs, context, values)
        if prospect.is_there and not await asked.is_gone():
            return to_json(await _change(context, asked, values)), LOOK_EVERY_S
    finally:
        context.metrics.observe_verb(asked.called.name, time.perf_counter() - started)
    if prospect.is_there or prospect.next_at is None:
        return b"[]", LOOK_EVERY_S
    # No commit tells that a job's time has come.
    return b"[]", min(LOOK_EVERY_S, max(0.0, (prospect.next_at - context.dispatcher.wall.now_us()) / SECOND_US))


def _look_for_jobs(context: ServerContext, values: dict[str, Any]) -> Prospect:
    wall_us, slots = context.dispatcher.wall.now_us(), values.get("slots", ONE_OF_EACH)
    with context.database.reading() as connection:
        return store_sql.look_for_jobs(connection, values["worker"], values["kinds"], slots, wall_us)


def _wait_s(query: bytes) -> float:
    text = QueryParams(query).get("wait_s", "0")
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1.0
    if not 0 <= wait_s < float("inf"):
        raise InvalidInput("this is not a number of seconds", field="wait_s", value=text, rule="0 or more")
    return min(wait_s, MOST_WAIT_S)
