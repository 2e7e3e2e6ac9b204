"""One route for every verb and query: ``POST /v1/{project}/verbs/{name}`` with JSON arguments."""

import asyncio
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from loopwright.governance import Actor, check_arguments, check_permission, find_verb
from loopwright.kernel.documents import from_json
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Verb
from loopwright.loop import OperationContext
from loopwright.server.answers import JsonAnswer, read_body
from loopwright.server.context import ServerContext
from loopwright.store import sql as store_sql
from loopwright.store.news import JOBS

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
        if name != "jobs.claim" or await _may_claim(request, args):
            answer = await _call(context, name, args, actor, project)
        if answer:
            return answer
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0 or context.is_stopping:
            return answer
        await context.signal.wait_async(seen, min(left, LOOK_EVERY_S), topic)


def _topic(name: str) -> str:
    """Return the news that may fill a query's answer: events of its own room, which alone changes its rows."""
    return JOBS if name == "jobs.claim" else name.partition(".")[0]


async def _may_claim(request: Request, args: dict[str, Any]) -> bool:
    """Look before claiming: an idle worker does not write at every commit, and one that is gone takes no job."""
    has_free_job = await run_in_threadpool(_has_free_job, request.app.state.context, args)
    return has_free_job and not await request.is_disconnected()


def _has_free_job(context: ServerContext, args: dict[str, Any]) -> bool:
    wall_us = context.dispatcher.wall.now_us()
    with context.database.reading() as connection:
        return bool(store_sql.claimable_jobs(connection, args["kinds"], wall_us, 1))


def _wait_s(request: Request) -> float:
    text = request.query_params.get("wait_s", "0")
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1.0
    if not 0 <= wait_s < float("inf"):
        raise InvalidInput("this is not a number of seconds", field="wait_s", value=text, rule="0 or more")
    return min(wait_s, MOST_WAIT_S)
