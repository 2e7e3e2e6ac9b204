"""One route for every verb and query: ``POST /v1/{project}/verbs/{name}`` with JSON arguments."""

import asyncio
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from loopwright.governance import Actor, check_arguments, check_permission, find_verb
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.documents import from_json
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Verb
from loopwright.loop import OperationContext
from loopwright.server.answers import JsonAnswer, read_body
from loopwright.server.context import ServerContext
from loopwright.store import sql as store_sql
from loopwright.store.jobs import ONE_OF_EACH
from loopwright.store.news import JOBS
from loopwright.store.sql import Prospect

MOST_WAIT_S = 30.0
LOOK_EVERY_S = 2.0
"""How often a waiting call looks although nobody gave word: for leases that have run out, and words that were lost."""


async def call_verb(request: Request) -> Response:
    """Call a verb or query. ``?wait_s=N`` repeats it at each commit of its room until its answer is not empty."""
    context: ServerContext = request.app.state.context
    actor = await context.gatekeeper.find_actor(request)
    args = from_json(await read_body(request) or b"{}", dict[str, Any])
    project, name = request.path_params["project"], request.path_params["name"]
    wait_s = _wait_s(request)
    key = request.headers.get("idempotency-key")
    if wait_s > 0:
        called = find_verb(name)
        check_permission(called, actor, project)
        if not called.is_query and name != "jobs.claim":
            raise InvalidInput("only queries can wait", field="wait_s", value=name, next_step="leave wait_s out")
        check_arguments(called, args)
        return JsonAnswer(await _call_until_filled(request, name, args, actor, project, wait_s))
    return JsonAnswer(await _call(context, name, args, actor, project, key))


async def _call(
    context: ServerContext, name: str, args: dict[str, Any], actor: Actor, project: str, key: str | None = None
) -> Any:
    started = time.perf_counter()
    try:
        return await _answer(context, name, args, actor, project, key)
    finally:
        context.metrics.observe_verb(name, time.perf_counter() - started)


async def _answer(
    context: ServerContext, name: str, args: dict[str, Any], actor: Actor, project: str, key: str | None
) -> Any:
    called = find_verb(name)
    if called.is_operation:
        return await run_in_threadpool(_operate, context, called, args, actor, project)
    is_quick = context.database.is_sqlite and not called.is_query
    if is_quick:
        future = context.dispatcher.submit(name, args, actor=actor, project=project, idempotency_key=key)
    else:
        future = await run_in_threadpool(
            context.dispatcher.submit, name, args, actor=actor, project=project, idempotency_key=key
        )
    return future.result() if future.done() else await asyncio.wrap_future(future)


def _operate(context: ServerContext, called: Verb, args: dict[str, Any], actor: Actor, project: str) -> Any:
    """Run a story of the server that is more than one transaction."""
    check_permission(called, actor, project)
    values = check_arguments(called, args)
    inside = OperationContext(
        dispatcher=context.dispatcher,
        blobs=context.blobs,
        reactor=context.reactor,
        wait=context.signal.wait,
        service_token=context.settings.service_token,
        project=project,
        actor=actor,
    )
    return called.function(inside, **values)


async def _call_until_filled(
    request: Request, name: str, args: dict[str, Any], actor: Actor, project: str, wait_s: float
) -> Any:
    context: ServerContext = request.app.state.context
    deadline = asyncio.get_running_loop().time() + wait_s
    topic = _topic(name)
    while True:
        seen = context.signal.seen(topic)
        answer: Any = []
        next_s = LOOK_EVERY_S
        prospect = await run_in_threadpool(_look_for_jobs, context, args) if name == "jobs.claim" else None
        # Look before claiming: an idle worker does not write at every commit, and one that is gone takes no job.
        if prospect is None or (prospect.is_there and not await request.is_disconnected()):
            answer = await _call(context, name, args, actor, project)
        elif prospect.next_at is not None:  # no commit tells that a job's time has come
            next_s = min(next_s, max(0.0, (prospect.next_at - context.dispatcher.wall.now_us()) / SECOND_US))
        if answer:
            return answer
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0 or context.is_stopping:
            return answer
        await context.signal.wait_async(seen, min(left, next_s), topic)


def _topic(name: str) -> str:
    """Return the news that may fill a query's answer: events of its own room, which alone changes its rows."""
    return JOBS if name == "jobs.claim" else name.partition(".")[0]


def _look_for_jobs(context: ServerContext, args: dict[str, Any]) -> Prospect:
    wall_us, slots = context.dispatcher.wall.now_us(), args.get("slots", ONE_OF_EACH)
    with context.database.reading() as connection:
        return store_sql.look_for_jobs(connection, args["worker"], args["kinds"], slots, wall_us)


def _wait_s(request: Request) -> float:
    text = request.query_params.get("wait_s", "0")
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1.0
    if not 0 <= wait_s < float("inf"):
        raise InvalidInput("this is not a number of seconds", field="wait_s", value=text, rule="0 or more")
    return min(wait_s, MOST_WAIT_S)
