"""Open Inference Protocol V2 over REST: its paths, and its way to tell an error."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from loopwright.gateway.bodies import encoded
from loopwright.gateway.launching import Served
from loopwright.gateway.questions import Question
from loopwright.gateway.runtime import champion_place
from loopwright.gateway.service import Service
from loopwright.gateway.tensors import find_version, model_metadata, server_metadata
from loopwright.kernel.errors import LoopwrightError


class ModelPath(NamedTuple):
    """``models/{name}[/versions/{version}]/{rest}`` of a path."""

    name: str
    version: str | None
    rest: list[str]


class V2Request(NamedTuple):
    """A request below ``/v2``: its method, the steps after that, how to get its body, and when it came."""

    method: str
    steps: list[str]
    body: Callable[[int], Awaitable[bytes]]
    started: float


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
            return _reply(200 if service.is_ready else 503, {"live": True, "ready": service.is_ready})
    path = _model_path(request.steps)
    return await _answer_model(service, request, path, find(path.name))


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
            return 200, await service.predict(served, Question("v2", body, path.name, request.started, forced))
        case ["ready"]:
            return _reply(200, {"name": path.name, "ready": True})
    asked = champion_place(served.release) if forced is None else forced
    return _reply(200, model_metadata(path.name, served.release, asked))


def v2_error(error: LoopwrightError) -> Reply:
    """Return an error as the protocol has it: one text, and 400 for what a caller can mend."""
    status = 400 if error.http_status in (409, 422) else error.http_status
    return _reply(status, {"error": str(error)})


def _reply(status: int, document: Any) -> Reply:
    return status, encoded(document)
