"""Open Inference Protocol V2 over REST: its paths, and its way to tell an error."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from loopwright.gateway.answering.questions import Question
from loopwright.gateway.answering.runtime import champion_place
from loopwright.gateway.answering.tensors import find_version, model_metadata, server_metadata
from loopwright.gateway.bodies import encoded
from loopwright.gateway.once import Work
from loopwright.gateway.releases.launching import Served
from loopwright.gateway.service import Service
from loopwright.kernel.errors import LoopwrightError
from loopwright.kernel.storable import storable_text


class ModelPath(NamedTuple):
    """``models/{name}[/versions/{version}]/{rest}`` of a path."""

    name: str
    version: str | None
    rest: list[str]


class V2Request(NamedTuple):
    """A request below ``/v2``: its method, the steps after that, how to get its body, when it came.

    ``scope`` returns the project that the caller may read, ``EVERY_PROJECT``, or empty for a stranger; ``once`` does
    work on a body for a project, once for the request's idempotency key.
    """

    method: str
    steps: list[str]
    body: Callable[[int], Awaitable[bytes]]
    started: float
    scope: Callable[[], str]
    once: Callable[[str, bytes, Work], Awaitable[bytes]]


Reply = tuple[int, bytes]
"""Status and JSON."""


async def answer_v2(service: Service, request: V2Request, find: Callable[[str], Served]) -> Reply:
    """Answer a request whose path and method are among those of ``methods_of``.

    Args:
        service: Does the work.
        request: What is asked for.
        find: Returns what serves a model of this name, among those the caller may see; raises where there is none.

    Raises:
        NotFound: There is no such model or version.
        LoopwrightError: What else keeps it from being answered.
    """
    match request.steps:
        case [] | [""]:
            return _reply(200, server_metadata())
        case ["health", "live"]:
            return _reply(200, {"live": True})
        case ["health", "ready"]:
            return _readiness(service, request.scope(), {"live": True})
    path = _model_path(request.steps)
    return await _answer_model(service, request, path, find(path.name))


def _readiness(service: Service, scope: str, document: dict[str, Any], deployment: str = "") -> Reply:
    """Answer whether all models, or one, can be answered rightly; where not, why."""
    why = service.why_not_ready(scope, deployment, must_serve=True)
    if why:
        return _reply(503, {**document, "ready": False, "why": why})
    return _reply(200, {**document, "ready": True})


def methods_of(steps: Sequence[str]) -> list[str]:
    """Return the methods that a path below ``/v2`` takes; none where there is no such path."""
    match steps:
        case [] | [""] | ["health", "live" | "ready"]:
            return ["GET"]
        case ["models", _, *rest]:
            rest = rest[2:] if len(rest) > 1 and rest[0] == "versions" else rest
            return {(): ["GET"], ("ready",): ["GET"], ("infer",): ["POST"]}.get(tuple(rest), [])
    return []


def _model_path(steps: Sequence[str]) -> ModelPath:
    _, name, *rest = steps
    if len(rest) > 1 and rest[0] == "versions":
        return ModelPath(name, rest[1], rest[2:])
    return ModelPath(name, None, rest)


async def _answer_model(service: Service, request: V2Request, path: ModelPath, served: Served) -> Reply:
    forced = find_version(served.release, path.version)
    match path.rest:
        case ["infer"]:
            body = await request.body(served.most_body_bytes)
            question = Question("v2", body, path.name, request.started, forced)
            work = partial(service.predict, served, question)
            return 200, await request.once(served.release.project, body, work)
        case ["ready"]:
            release = served.release
            return _readiness(service, release.project, {"name": path.name}, release.deployment)
    asked = champion_place(served.release) if forced is None else forced
    return _reply(200, model_metadata(path.name, served.release, asked))


def v2_error(error: LoopwrightError) -> Reply:
    """Return an error as the protocol has it: one text, and 400 for what a caller can mend."""
    status = 400 if error.http_status in (409, 422) else error.http_status
    return _reply(status, {"error": storable_text(str(error))})


def _reply(status: int, document: Any) -> Reply:
    return status, encoded(document)
