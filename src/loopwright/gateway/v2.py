"""Open Inference Protocol V2 over REST: its paths, and its way to tell an error."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from loopwright.gateway.bodies import encoded
from loopwright.gateway.launching import Served
from loopwright.gateway.questions import Question
from loopwright.gateway.runtime import champion_place
from loopwright.gateway.service import Service
from loopwright.gateway.tensors import find_version, model_metadata, server_metadata
from loopwright.kernel.errors import LoopwrightError, NotFound


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
    """Answer a request below ``/v2``.

    Args:
        service: Does the work.
        request: What is asked for.
        find: Returns what serves a model of this name, among those the caller may see; raises where there is none.

    Raises:
        NotFound: There is no such path, model or version.
        LoopwrightError: What else keeps it from being answered.
    """
    match (request.method, *request.steps):
        case ("GET",) | ("GET", ""):
            return _reply(200, server_metadata())
        case ("GET", "health", "live"):
            return _reply(200, {"live": True})
        case ("GET", "health", "ready"):
            return _reply(200 if service.is_ready else 503, {"live": True, "ready": service.is_ready})
        case ("GET" | "POST", "models", _, *_):
            path = _model_path(request.steps)
            return await _answer_model(service, request, path, find(path.name))
    raise NotFound(f"there is no {request.method} /v2/{'/'.join(request.steps)}", field="path")


def _model_path(steps: Sequence[str]) -> ModelPath:
    _, name, *rest = steps
    if len(rest) > 1 and rest[0] == "versions":
        return ModelPath(name, rest[1], rest[2:])
    return ModelPath(name, None, rest)


async def _answer_model(service: Service, request: V2Request, path: ModelPath, served: Served) -> Reply:
    forced = find_version(served.release, path.version)
    match (request.method, *path.rest):
        case ("GET",):
            asked = champion_place(served.release) if forced is None else forced
            return _reply(200, model_metadata(path.name, served.release, asked))
        case ("GET", "ready"):
            return _reply(200, {"name": path.name, "ready": True})
        case ("POST", "infer"):
            body = await request.body(served.most_body_bytes)
            return 200, await service.predict(served, Question("v2", body, path.name, request.started, forced))
    raise NotFound(f"there is no {request.method} {'/'.join(path.rest)} of a model", field="path")


def v2_error(error: LoopwrightError) -> Reply:
    """Return an error as the protocol has it: one text, and 400 for what a caller can mend."""
    status = 400 if error.http_status in (409, 422) else error.http_status
    return _reply(status, {"error": str(error)})


def _reply(status: int, document: Any) -> Reply:
    return status, encoded(document)
