"""The gateway's ASGI application: reads a request, lets it in or not, has it answered, writes the answer."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import msgspec

from loopwright.gateway.access import WRITERS, Gatekeeper
from loopwright.gateway.answering.questions import Question
from loopwright.gateway.bodies import MOST_BODY_BYTES, decoded, encoded
from loopwright.gateway.denials import Denials
from loopwright.gateway.metrics import CONTENT_TYPE, Metrics
from loopwright.gateway.once import Call, Once, Work, key_of
from loopwright.gateway.releases.launching import Served
from loopwright.gateway.service import Service
from loopwright.gateway.stamps import Stamp
from loopwright.gateway.v2 import V2Request, answer_v2, methods_of, v2_error
from loopwright.governance import EVERY_PROJECT
from loopwright.kernel.errors import LoopwrightError, NotFound, PermissionDenied, Unauthenticated, Unavailable
from loopwright.store.types import EVERY_STREAM, Streams
from loopwright.wire.bodies import Headers, Receive, read_body

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("loopwright.gateway")
_JSON = b"application/json"
_FEWER_ROWS = "send fewer rows at a time; loopwright score NAME FILE takes whole files"
_OUR_FAULT = "something went wrong on our side; the gateway's log has the details"
_read_streams = msgspec.json.Decoder(Streams)


class MethodNotAllowed(LoopwrightError):
    """There is such a path, but it takes other methods."""

    code = "method_not_allowed"
    http_status = 405


class Life(Protocol):
    """What begins and ends with the event loop."""

    def begin(self) -> None:
        """Start what needs the event loop; requests come from now on."""
        ...

    async def end(self) -> None:
        """Finish what is owed; no request comes any more."""
        ...


@dataclass
class Request:
    """What came: the method, the path's steps, headers, the way to the body, when, and from what address.

    ``target`` is set to the deployment or dataset once it is known to be there and the caller was let in.
    """

    method: str
    steps: list[str]
    headers: Headers
    receive: Receive
    started: float
    client: str = ""
    target: str = ""

    async def body(self, limit: int = MOST_BODY_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            TooLarge: It is longer than ``limit`` bytes.
            WrongEncoding: It is compressed by something else than gzip or deflate.
            InvalidInput: It is compressed, and damaged.
        """
        return await read_body(self.headers, self.receive, limit, _FEWER_ROWS)


class Answer(NamedTuple):
    """Status, body, content type and further headers."""

    status: int
    body: bytes
    kind: bytes = _JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


Handler = Callable[[Request], Awaitable[Answer]]


Take = Callable[[str, str, bytes, Stamp | None], Awaitable[int]]
"""Takes the rows of a body for a deployment or dataset of a project; returns how many."""


class Route(NamedTuple):
    """What a path leads to: a name for the metrics, and who answers each method."""

    name: str
    handlers: Mapping[str, Handler]


class Gateway:
    """A raw ASGI callable: no framework stands between a request and its batch.

    Args:
        service: Does the work.
        gatekeeper: Says who may ask for it.
        metrics: Counts requests.
        life: What begins and ends with the server.
        once: Remembers what was answered under which idempotency key.
        denials: Takes note of calls that were refused.
    """

    def __init__(
        self, service: Service, gatekeeper: Gatekeeper, metrics: Metrics, life: Life, once: Once, denials: Denials
    ) -> None:
        self._service, self._gatekeeper, self._metrics, self._life = service, gatekeeper, metrics, life
        self._once, self._denials = once, denials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the server's start and end."""
        if scope["type"] != "http":
            await self._live(receive, send)
            return
        started = time.perf_counter()
        steps = _steps(scope["raw_path"])
        client = (scope.get("client") or ("",))[0]
        request = Request(scope["method"], steps, dict(scope["headers"]), receive, started, client)
        route = self._route(steps)
        answer = await self._answer(request, route)
        length = str(len(answer.body)).encode()
        head = [(b"content-type", answer.kind), (b"content-length", length), *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        await send({"type": "http.response.body", "body": answer.body})
        self._metrics.observe(route.name, request.target, answer.status, time.perf_counter() - started)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._life.begin()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._life.end()
                await send({"type": "lifespan.shutdown.complete"})
                return
            else:
                return

    async def _answer(self, request: Request, route: Route) -> Answer:
        is_v2 = route.name in ("v2", "infer")
        is_settled = True
        try:
            if self._gatekeeper.count(request.headers, request.client):
                is_settled = await self._ask_for_stranger(request)
            handler = route.handlers.get("GET" if request.method == "HEAD" else request.method)
            if handler is not None:
                return await handler(request)
            return _no_handler(request, route)
        except LoopwrightError as error:
            if isinstance(error, (Unauthenticated, PermissionDenied)):
                project = request.steps[1] if request.steps[0] == "v1" else ""
                self._denials.note(self._gatekeeper.known(request.headers), route.name, project, request.client)
            if isinstance(error, Unauthenticated) and not is_settled:
                error = _NOT_SETTLED
            status, body = v2_error(error) if is_v2 else (error.http_status, encoded({"error": error.to_dict()}))
            return Answer(status, body, headers=_retry_after(error))
        except Exception:
            # The client learns that it was not its fault; the log keeps why.
            log.exception("unexpected error on /%s", "/".join(request.steps))
            return _json(500, {"error": _OUR_FAULT if is_v2 else {"code": "internal", "message": _OUR_FAULT}})

    async def _ask_for_stranger(self, request: Request) -> bool:
        """Ask the server for a token that nobody here knows, for it may have been made a moment ago."""
        is_settled = await self._service.inquiry.ask_for_stranger(request.client)
        if is_settled:
            self._gatekeeper.settle(request.headers)
        return is_settled

    def _route(self, steps: list[str]) -> Route:
        match steps:
            case "v1", project, "deployments", name, "predict":
                return Route("predict", {"POST": partial(self._predict, project, name)})
            case "v1", project, "deployments", name, "features":
                return Route("features", {"POST": partial(self._features, project, name)})
            case "v1", project, "deployments", name, "labels":
                return Route("labels", {"POST": partial(self._labels, project, name)})
            case "v1", project, "deployments", name, "predictions":
                return Route("predictions", {"POST": partial(self._predictions, project, name)})
            case "v1", project, "datasets", name, "push":
                return Route("push", {"POST": partial(self._push, project, name)})
            case "v2", *rest:
                handlers = dict.fromkeys(methods_of(rest), self._v2)
                return Route("infer" if steps[-1] == "infer" else "v2", handlers)
            case "internal", "seal":
                return Route("internal", {"POST": self._seal})
            case ["healthz"]:
                return Route("healthz", {"GET": self._health})
            case ["metrics"]:
                return Route("metrics", {"GET": self._tell_metrics})
        return _NOWHERE

    async def _predict(self, project: str, name: str, request: Request) -> Answer:
        self._gatekeeper.check(request.headers, project)
        served = await self._service.served(project, name)
        request.target = f"{project}/{name}"
        body = await request.body(served.most_body_bytes)
        question = Question("v1", body, name, request.started)
        work = partial(self._service.predict, served, question)
        return Answer(200, await self._once_only(request, project, body, work))

    async def _features(self, project: str, name: str, request: Request) -> Answer:
        """Look features up. Nothing changes by it, so an idempotency key is not looked at."""
        self._gatekeeper.check(request.headers, project)
        served = await self._service.served(project, name)
        request.target = f"{project}/{name}"
        body = await request.body(served.most_body_bytes)
        return Answer(
            200, await self._service.lookups.answer(served, Question("features", body, name, request.started))
        )

    async def _labels(self, project: str, name: str, request: Request) -> Answer:
        self._gatekeeper.check(request.headers, project, WRITERS)
        await self._service.check_deployment(project, name)
        request.target = f"{project}/{name}"
        return await self._take(request, project, name, self._service.label)

    async def _predictions(self, project: str, name: str, request: Request) -> Answer:
        self._gatekeeper.check(request.headers, project, WRITERS)
        await self._service.check_deployment(project, name)
        request.target = f"{project}/{name}"
        return await self._take(request, project, name, self._service.log)

    async def _push(self, project: str, name: str, request: Request) -> Answer:
        self._gatekeeper.check(request.headers, project, WRITERS)
        answer = await self._take(request, project, name, self._service.push)
        request.target = f"{project}/{name}"
        return answer

    async def _take(self, request: Request, project: str, name: str, take: Take) -> Answer:
        """Have rows taken, and answer how many they are."""
        body = await request.body()

        async def work(stamp: Stamp | None) -> bytes:
            return encoded({"accepted": await take(project, name, body, stamp)})

        return Answer(200, await self._once_only(request, project, body, work))

    async def _once_only(self, request: Request, project: str, body: bytes, work: Work) -> bytes:
        """Do what a request asks for, once for its idempotency key where it has one."""
        key = key_of(request.headers)
        if key is None:
            return await work(None)
        return await self._once.answer(Call(project, key, "/".join(request.steps)), body, work)

    async def _seal(self, request: Request) -> Answer:
        """Seal the streams that the body names, all where there is none."""
        self._gatekeeper.check(request.headers, None)
        body = await request.body()
        return _json(200, await self._service.seal(decoded(_read_streams, body) if body else EVERY_STREAM))

    async def _v2(self, request: Request) -> Answer:
        def find(name: str) -> Served:
            served = self._service.served_named(name, self._gatekeeper.scope(request.headers))
            request.target = f"{served.release.project}/{served.release.deployment}"
            return served

        asked = V2Request(
            request.method,
            request.steps[1:],
            request.body,
            request.started,
            partial(self._scope, request),
            partial(self._once_only, request),
        )
        return Answer(*await answer_v2(self._service, asked, find))

    async def _health(self, request: Request) -> Answer:
        """Answer whether rows are taken and answered rightly, and if not, why.

        Who has a token is told of their project, or of all and of the spool.
        """
        scope, document = self._scope(request), dict[str, Any]()
        if scope:
            document = self._service.health(scope)
        why = self._service.why_not_ready(scope)
        if why:
            return _json(503, {"status": "not ready", "why": why, **document})
        return _json(200, {"status": "ok", **document})

    def _scope(self, request: Request) -> str:
        """Return the project that the caller may read, or ``EVERY_PROJECT``; empty for a stranger."""
        with suppress(Unauthenticated, PermissionDenied):
            return self._gatekeeper.scope(request.headers)
        return ""

    async def _tell_metrics(self, request: Request) -> Answer:
        self._gatekeeper.check(request.headers, EVERY_PROJECT)
        return Answer(200, self._metrics.text(), CONTENT_TYPE)


def _steps(raw_path: bytes) -> list[str]:
    """Return the steps of a path, each decoded by itself: an encoded slash is part of a name, and no name has one."""
    path = raw_path.decode("latin-1")
    steps = path.split("/")[1:] or [path]
    return [unquote(step) for step in steps] if "%" in path else steps


def _no_handler(request: Request, route: Route) -> Answer:
    """Answer that nothing is there, or that something else may be done with it."""
    path = "/" + "/".join(request.steps)
    if not route.handlers and request.steps != ["*"]:
        raise NotFound(f"there is no {path}", field="path")
    methods = [*route.handlers, *(["HEAD"] if "GET" in route.handlers else []), "OPTIONS"]
    allowed = [(b"allow", ", ".join(methods).encode())]
    if request.method == "OPTIONS":
        return Answer(204, b"", headers=allowed)
    error = MethodNotAllowed(f"{path} does not take {request.method}", field="method", rule=", ".join(methods))
    return Answer(error.http_status, encoded({"error": error.to_dict()}), headers=allowed)


_NOWHERE = Route("other", {})
_NOT_SETTLED = Unavailable(
    "this gateway does not know this token, and the server does not say in time whether it is one",
    next_step="send it again in a moment; loopwright logs server, on its machine",
)


def _retry_after(error: LoopwrightError) -> list[tuple[bytes, bytes]]:
    """Return the header that tells a client when to come back, where that is a matter of time."""
    if error.http_status not in (429, 503):
        return []
    return [(b"retry-after", str(error.details.get("retry_after_s", 1)).encode())]


def _json(status: int, document: Any) -> Answer:
    return Answer(status, encoded(document))
