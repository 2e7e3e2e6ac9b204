"""The gateway's ASGI application: reads a request, lets it in or not, has it answered, writes the answer."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import msgspec

from loopwright.gateway.access import WRITERS, Gatekeeper
from loopwright.gateway.bodies import MOST_BODY_BYTES, Headers, Receive, decoded, encoded, read_body
from loopwright.gateway.ingest import IngestBody, only_rows
from loopwright.gateway.launching import Served
from loopwright.gateway.metrics import Metrics
from loopwright.gateway.questions import Question
from loopwright.gateway.service import Service
from loopwright.gateway.v2 import V2Request, answer_v2, v2_error
from loopwright.governance import EVERY_PROJECT
from loopwright.kernel.errors import LoopwrightError, NotFound, PermissionDenied, Unauthenticated
from loopwright.store.types import EVERY_STREAM, Streams

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("loopwright.gateway")
_JSON = b"application/json"
_OUR_FAULT = "something went wrong on our side; the gateway's log has the details"
_read_ingest = msgspec.json.Decoder(IngestBody)
_read_streams = msgspec.json.Decoder(Streams)


class Life(Protocol):
    """What begins and ends with the event loop."""

    def begin(self) -> None:
        """Start what needs the event loop; requests come from now on."""
        ...

    async def end(self) -> None:
        """Finish what is owed; no request comes any more."""
        ...


class Request(NamedTuple):
    """What came: the method, the path's steps after the first slash, headers, and the way to the body."""

    method: str
    steps: list[str]
    headers: Headers
    receive: Receive
    started: float

    async def body(self, limit: int = MOST_BODY_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            TooLarge: It is longer than ``limit`` bytes.
        """
        return await read_body(self.headers, self.receive, limit)


class Answer(NamedTuple):
    """Status, body, content type and further headers."""

    status: int
    body: bytes
    kind: bytes = _JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


class Gateway:
    """A raw ASGI callable: no framework stands between a request and its batch.

    Args:
        service: Does the work.
        gatekeeper: Says who may ask for it.
        metrics: Counts requests.
        life: What begins and ends with the server.
    """

    def __init__(self, service: Service, gatekeeper: Gatekeeper, metrics: Metrics, life: Life) -> None:
        self._service, self._gatekeeper, self._metrics, self._life = service, gatekeeper, metrics, life

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the server's start and end."""
        if scope["type"] != "http":
            await self._live(receive, send)
            return
        request = Request(
            scope["method"], scope["path"].split("/")[1:], dict(scope["headers"]), receive, time.perf_counter()
        )
        answer = await self._answer(request)
        length = str(len(answer.body)).encode()
        head = [(b"content-type", answer.kind), (b"content-length", length), *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        await send({"type": "http.response.body", "body": answer.body})
        self._count(request, answer.status)

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

    async def _answer(self, request: Request) -> Answer:
        is_v2 = request.steps[0] == "v2"
        try:
            return await self._route(request)
        except LoopwrightError as error:
            status, body = v2_error(error) if is_v2 else (error.http_status, encoded({"error": error.to_dict()}))
            return Answer(status, body, headers=_retry_after(error))
        except Exception:
            # The client learns that it was not its fault; the log keeps why.
            log.exception("unexpected error on %s", "/".join(request.steps))
            return _json(500, {"error": _OUR_FAULT if is_v2 else {"code": "internal", "message": _OUR_FAULT}})

    async def _route(self, request: Request) -> Answer:
        match request.method, *request.steps:
            case "POST", "v1", project, "deployments", name, "predict":
                return await self._predict(request, project, name)
            case "POST", "v1", project, "deployments", name, "labels":
                return await self._labels(request, project, name)
            case "POST", "v1", project, "deployments", name, "predictions":
                return await self._predictions(request, project, name)
            case "POST", "v1", project, "datasets", name, "push":
                return await self._push(request, project, name)
            case _, "v2", *rest:
                return await self._v2(request, rest)
            case "POST", "internal", "seal":
                return await self._seal(request)
            case _, "healthz":
                return _json(200, self._health(request))
            case _, "metrics":
                self._gatekeeper.check(request.headers, EVERY_PROJECT)
                text = self._metrics.text(self._service.gauges())
                return Answer(200, text.encode(), b"text/plain; version=0.0.4")
        raise NotFound(f"there is no {request.method} /{'/'.join(request.steps)}", field="path")

    async def _predict(self, request: Request, project: str, name: str) -> Answer:
        self._gatekeeper.check(request.headers, project)
        served = await self._service.served(project, name)
        body = await request.body(served.most_body_bytes)
        return Answer(200, await self._service.predict(served, Question("v1", body, name, request.started)))

    async def _labels(self, request: Request, project: str, name: str) -> Answer:
        self._gatekeeper.check(request.headers, project, WRITERS)
        body = decoded(_read_ingest, await request.body())
        return _json(200, {"accepted": await self._service.label(project, name, body.labels or body.rows)})

    async def _predictions(self, request: Request, project: str, name: str) -> Answer:
        self._gatekeeper.check(request.headers, project, WRITERS)
        body = decoded(_read_ingest, await request.body())
        return _json(200, {"accepted": await self._service.log(project, name, body.predictions or body.rows)})

    async def _push(self, request: Request, project: str, name: str) -> Answer:
        self._gatekeeper.check(request.headers, project, WRITERS)
        rows = only_rows(decoded(_read_ingest, await request.body()).rows)
        return _json(200, {"accepted": await self._service.push(project, name, rows)})

    async def _seal(self, request: Request) -> Answer:
        """Seal the streams that the body names, all where there is none."""
        self._gatekeeper.check(request.headers, None)
        body = await request.body()
        return _json(200, await self._service.seal(decoded(_read_streams, body) if body else EVERY_STREAM))

    async def _v2(self, request: Request, steps: list[str]) -> Answer:
        def find(name: str) -> Served:
            return self._service.served_named(name, self._gatekeeper.scope(request.headers))

        asked = V2Request(request.method, steps, request.body, request.started)
        return Answer(*await answer_v2(self._service, asked, find))

    def _health(self, request: Request) -> dict[str, Any]:
        """Answer that this gateway lives; who has a token is told of their project, or of all and of the spool."""
        document: dict[str, Any] = {"status": "ok"}
        with suppress(Unauthenticated, PermissionDenied):
            document |= self._service.health(self._gatekeeper.scope(request.headers))
        return document

    def _count(self, request: Request, status: int) -> None:
        steps = request.steps
        is_known = status != 404 and len(steps) > 3
        target = f"{steps[1]}/{steps[3]}" if is_known and steps[0] == "v1" else ""
        self._metrics.observe(_route_name(steps), target, status, time.perf_counter() - request.started)


def _retry_after(error: LoopwrightError) -> list[tuple[bytes, bytes]]:
    """Return the header that tells a client when to come back, where that is a matter of time."""
    if error.http_status not in (429, 503):
        return []
    return [(b"retry-after", str(error.details.get("retry_after_s", 1)).encode())]


def _json(status: int, document: Any) -> Answer:
    return Answer(status, encoded(document))


def _route_name(steps: Sequence[str]) -> str:
    if steps[0] == "v1":
        return steps[-1] if steps[-1] in ("predict", "labels", "predictions", "push") else "other"
    if steps[0] == "v2":
        return "infer" if steps[-1] == "infer" else "v2"
    return steps[0] if steps[0] in ("healthz", "metrics", "internal") else "other"
