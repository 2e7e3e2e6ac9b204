"""The gateway's ASGI application: reads a request, finds who answers, writes the answer."""

import asyncio
import difflib
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from loopwright import data
from loopwright.features import DatasetPushSpec
from loopwright.gateway import v2
from loopwright.gateway.access import WRITERS, Gatekeeper
from loopwright.gateway.batching import Batcher
from loopwright.gateway.bodies import MOST_BODY_BYTES, Headers, Receive, decoded, read_body
from loopwright.gateway.ingest import IngestBody, only_rows, read_external, read_labels
from loopwright.gateway.inputs import Row
from loopwright.gateway.loading import Loader, views_of
from loopwright.gateway.metrics import Metrics
from loopwright.gateway.releases import ReleaseKeeper
from loopwright.gateway.runtime import DeploymentRuntime, Prediction
from loopwright.gateway.sealing import Sealer
from loopwright.gateway.spool import Batch, Spool, StreamKey
from loopwright.governance import EVERY_PROJECT
from loopwright.kernel.clock import Clock
from loopwright.kernel.errors import (
    Conflict,
    InvalidInput,
    LoopwrightError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from loopwright.store.types import EVERY_STREAM, Streams
from loopwright.wire.caller import VerbCaller

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("loopwright.gateway")
_JSON = b"application/json"
_REASK_S = 1.0


class PredictBody(msgspec.Struct):
    """Body of a predict request."""

    rows: list[dict[str, Any]]


class PredictAnswer(msgspec.Struct):
    """Answer of a predict request."""

    deployment: str
    release: int
    predictions: list[Prediction]


class Answer(NamedTuple):
    """Status, body and content type."""

    status: int
    body: bytes
    kind: bytes = _JSON


class Parts(NamedTuple):
    """What the application is made of."""

    spool: Spool
    sealer: Sealer
    keeper: ReleaseKeeper
    loader: Loader
    control: VerbCaller
    gatekeeper: Gatekeeper
    clock: Clock
    is_durable: bool


_encoder = msgspec.json.Encoder()
_read_predict = msgspec.json.Decoder(PredictBody)
_read_infer = msgspec.json.Decoder(v2.InferRequest)
_read_ingest = msgspec.json.Decoder(IngestBody)
_read_streams = msgspec.json.Decoder(Streams)


class Gateway:
    """A raw ASGI callable: no framework stands between a request and its batch.

    Args:
        parts: Spool, releases, access and the line to the server.
        on_stop: Called when the server has drained its requests.
    """

    def __init__(self, parts: Parts, on_stop: Callable[[], None]) -> None:
        self._parts, self._on_stop = parts, on_stop
        self._keeper, self._gatekeeper, self._clock = parts.keeper, parts.gatekeeper, parts.clock
        self._metrics = Metrics()
        self._batcher = Batcher(parts.spool, parts.sealer, self._metrics, is_durable=parts.is_durable)
        self._aside = ThreadPoolExecutor(1, "pushes")
        self._asked_at = 0.0
        self._datasets: dict[tuple[str, str], tuple[int, tuple[DatasetPushSpec, set[str]]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the server's start and end."""
        if scope["type"] != "http":
            await self._live(receive, send)
            return
        started = time.perf_counter()
        headers: Headers = dict(scope["headers"])
        path: str = scope["path"]
        steps = path.split("/")
        try:
            answer = await self._route(scope["method"], steps, headers, receive, started)
        except LoopwrightError as error:
            answer = _error(error, is_v2=steps[1] == "v2")
        except Exception:
            # The client learns that it was not its fault; the log keeps why.
            log.exception("unexpected error on %s", path)
            message = "something went wrong on our side; the gateway's log has the details"
            problem: Any = message if steps[1] == "v2" else {"code": "internal", "message": message}
            answer = Answer(500, _encoder.encode({"error": problem}))
        length = str(len(answer.body)).encode()
        head = [(b"content-type", answer.kind), (b"content-length", length)]
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        await send({"type": "http.response.body", "body": answer.body})
        is_known = answer.status != 404 and len(steps) > 4
        target = f"{steps[2]}/{steps[4]}" if is_known and steps[1] == "v1" else ""
        self._metrics.observe(_route_name(steps), target, answer.status, time.perf_counter() - started)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._batcher.finish_shadows()
                self._aside.shutdown()
                self._on_stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
            else:
                return

    async def _route(self, method: str, steps: list[str], headers: Headers, receive: Receive, started: float) -> Answer:
        match steps[1:]:
            case ["v1", project, "deployments", name, "predict"] if method == "POST":
                return await self._predict(project, name, headers, receive, started)
            case ["v1", project, "deployments", name, "labels"] if method == "POST":
                return await self._labels(project, name, headers, receive)
            case ["v1", project, "deployments", name, "predictions"] if method == "POST":
                return await self._predictions(project, name, headers, receive)
            case ["v1", project, "datasets", name, "push"] if method == "POST":
                return await self._push(project, name, headers, receive)
            case ["v2", *rest]:
                return await self._v2(method, rest, headers, receive, started)
            case ["internal", "seal"] if method == "POST":
                self._gatekeeper.check(headers, None)
                return await self._seal(headers, receive)
            case ["healthz"]:
                return self._health(headers)
            case ["metrics"]:
                self._gatekeeper.check(headers, EVERY_PROJECT)
                gauges: dict[str, float] = {
                    "spool_open_bytes": self._parts.spool.size_bytes,
                    "sealed_rows": self._parts.sealer.sealed_rows,
                    "segments_kept_aside": len(self._parts.spool.kept_aside),
                }
                return Answer(200, self._metrics.text(gauges).encode(), b"text/plain; version=0.0.4")
        raise NotFound(f"there is no {method} {'/'.join(steps)}", field="path")

    async def _predict(self, project: str, name: str, headers: Headers, receive: Receive, started: float) -> Answer:
        self._gatekeeper.check(headers, project)
        runtime = self._runtime(project, name)
        body = await read_body(headers, receive, runtime.release.limits.get("body_bytes", MOST_BODY_BYTES))
        rows = decoded(_read_predict, body).rows
        predictions = await self._batcher.submit(runtime, rows, started)
        return Answer(200, _encoder.encode(PredictAnswer(name, runtime.release.number, predictions)))

    async def _labels(self, project: str, name: str, headers: Headers, receive: Receive) -> Answer:
        self._gatekeeper.check(headers, project, WRITERS)
        await self._check_deployment(project, name)
        body = decoded(_read_ingest, await read_body(headers, receive, MOST_BODY_BYTES))
        rows = only_rows(body.labels, body.rows)
        wanted = self._keeper.labels_of((project, name))
        batch = read_labels(rows, self._clock.now_us(), is_replay=self._keeper.is_replay(project), wanted=wanted)
        return await self._spooled(StreamKey(project, "labels", name), batch)

    async def _predictions(self, project: str, name: str, headers: Headers, receive: Receive) -> Answer:
        self._gatekeeper.check(headers, project, WRITERS)
        if (project, name) in self._keeper.runtimes:
            raise Conflict(
                f"{name} is served here", field="deployment", value=name, rule="only models served elsewhere are told"
            )
        await self._check_deployment(project, name)
        body = decoded(_read_ingest, await read_body(headers, receive, MOST_BODY_BYTES))
        rows = only_rows(body.predictions, body.rows)
        personal = self._keeper.known.personal.get(f"{project}/{name}", [])
        is_replay = self._keeper.is_replay(project)
        batch = read_external(rows, self._clock.now_us(), is_replay=is_replay, personal=personal)
        return await self._spooled(StreamKey(project, "predictions", name), batch)

    async def _push(self, project: str, name: str, headers: Headers, receive: Receive) -> Answer:
        self._gatekeeper.check(headers, project, WRITERS)
        rows = only_rows(decoded(_read_ingest, await read_body(headers, receive, MOST_BODY_BYTES)).rows)
        # What shadows still have to look up must not see these rows.
        self._batcher.finish_shadows()
        batch = await asyncio.get_running_loop().run_in_executor(self._aside, self._take_push, project, name, rows)
        return await self._spooled(StreamKey(project, "pushes", name), batch)

    def _take_push(self, project: str, name: str, rows: Sequence[Row]) -> Batch:
        spec, views = views_of(self._keeper.releases(), project, name)
        personal = set(self._keeper.known.pushed.get(f"{project}/{name}", ()))
        if spec is None:
            spec, personal = self._dataset(project, name)
        now_us = self._clock.now_us()
        is_replay = self._keeper.is_replay(project)
        target = self._parts.loader.push_target(spec, views, personal)
        batch: Batch = target.take(rows, now_us, None if is_replay else now_us)
        return batch

    def _dataset(self, project: str, name: str) -> tuple[DatasetPushSpec, set[str]]:
        """Return a dataset that no live plan reads, as the server declares it (or did last), and what is personal."""
        refreshes, known = self._datasets.get((project, name), (-1, None))
        if known is not None and refreshes == self._keeper.refreshes:
            return known
        refreshes = self._keeper.refreshes
        try:
            spec = self._parts.control.within(project).call(data.get, dataset=name).spec
        except Unavailable:
            if known is None:
                raise
            return known
        pushed = DatasetPushSpec(
            spec.name, spec.key, spec.time or "", spec.known_at, spec.transform, zone=spec.source.zone
        )
        known = (pushed, set(spec.personal))
        self._datasets[project, name] = (refreshes, known)
        return known

    async def _spooled(self, key: StreamKey, batch: Batch) -> Answer:
        ticket = self._parts.spool.append(key, [batch])
        self._parts.sealer.nudge(key)
        if self._parts.is_durable:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()

            def settle(why: Exception | None) -> None:
                loop.call_soon_threadsafe(_settle, done, why)

            self._parts.spool.when_durable(ticket, settle)
            await done
        return Answer(200, _encoder.encode({"accepted": batch.rows}))

    async def _seal(self, headers: Headers, receive: Receive) -> Answer:
        """Seal the streams that the body names, all where there is none."""
        body = await read_body(headers, receive, MOST_BODY_BYTES)
        streams = decoded(_read_streams, body) if body else EVERY_STREAM
        self._batcher.finish_shadows()
        return Answer(200, _encoder.encode(await asyncio.wrap_future(self._parts.sealer.seal(streams))))

    async def _v2(self, method: str, steps: list[str], headers: Headers, receive: Receive, started: float) -> Answer:
        match (method, *steps):
            case ("GET",) | ("GET", ""):
                return Answer(200, _encoder.encode(v2.server_metadata()))
            case ("GET", "health", "live"):
                return Answer(200, _encoder.encode({"live": True}))
            case ("GET", "health", "ready"):
                is_ready = bool(self._keeper.runtimes) or self._keeper.has_asked
                return Answer(200 if is_ready else 503, _encoder.encode({"live": True, "ready": is_ready}))
            case ("GET" | "POST", "models", model, *rest):
                version = rest[1] if len(rest) > 1 and rest[0] == "versions" else None
                last = rest[2:] if version is not None else rest
                runtime = self._model(model, headers)
                forced = v2.find_version(runtime, version)
                return await self._v2_model(method, model, last, (runtime, forced), headers, receive, started)
        raise NotFound(f"there is no {method} /v2/{'/'.join(steps)}", field="path")

    async def _v2_model(
        self,
        method: str,
        name: str,
        last: list[str],
        target: tuple[DeploymentRuntime, int | None],
        headers: Headers,
        receive: Receive,
        started: float,
    ) -> Answer:
        runtime, forced = target
        asked = runtime.champion if forced is None else forced
        if method == "GET" and not last:
            return Answer(200, _encoder.encode(v2.model_metadata(name, runtime, asked)))
        if method == "GET" and last == ["ready"]:
            return Answer(200, _encoder.encode({"name": name, "ready": True}))
        if method != "POST" or last != ["infer"]:
            raise NotFound(f"there is no {method} {'/'.join(last)} of a model", field="path")
        body = await read_body(headers, receive, runtime.release.limits.get("body_bytes", MOST_BODY_BYTES))
        request = decoded(_read_infer, body)
        v2.check_outputs(request, runtime.release)
        rows = v2.to_rows(request, runtime.variants[asked].columns, runtime.variants[asked].fields)
        predictions = await self._batcher.submit(runtime, rows, started, forced)
        return Answer(200, _encoder.encode(v2.to_answer(name, request, runtime.release, predictions)))

    def _model(self, name: str, headers: Headers) -> DeploymentRuntime:
        """Find a runtime by ``deployment`` or ``project.deployment``, among those the caller may ask."""
        scope = self._gatekeeper.scope(headers)
        runtimes = {key: one for key, one in self._keeper.runtimes.items() if scope in (key[0], EVERY_PROJECT)}
        found = [key for key in runtimes if name in (key[1], f"{key[0]}.{key[1]}")]
        if len(found) > 1:
            options = ", ".join(f"{project}.{deployment}" for project, deployment in found)
            raise InvalidInput(f"several projects have a model named {name}", field="model", rule=f"one of {options}")
        if not found:
            raise _unknown(name, [key[1] for key in runtimes])
        return runtimes[found[0]]

    def _runtime(self, project: str, name: str) -> DeploymentRuntime:
        runtime = self._keeper.runtimes.get((project, name))
        if runtime is not None:
            return runtime
        why = self._keeper.failures.get((project, name))
        if why is not None:
            raise NotFound(f"{name} has no release that this gateway could load: {why}", field="deployment", value=name)
        if (project, name) in self._keeper.known.external:
            raise Conflict(f"the model of {name} is served elsewhere", field="deployment", value=name)
        raise _unknown(name, [key[1] for key in self._keeper.runtimes if key[0] == project])

    async def _check_deployment(self, project: str, name: str) -> None:
        """Make sure that rows of this deployment are wanted; one declared just now is asked for."""
        key = (project, name)
        if key in self._keeper.runtimes or key in self._keeper.known.external:
            return
        if time.monotonic() - self._asked_at > _REASK_S:
            self._asked_at = time.monotonic()
            await asyncio.get_running_loop().run_in_executor(None, self._keeper.refresh)
        if key not in self._keeper.known.external:
            names = [one for one in (*self._keeper.runtimes, *self._keeper.known.external) if one[0] == project]
            raise _unknown(name, [one[1] for one in names])

    def _health(self, headers: Headers) -> Answer:
        """Answer that this gateway lives; who has a token is told of their project, or of all and of the spool."""
        document: dict[str, Any] = {"status": "ok"}
        with suppress(Unauthenticated, PermissionDenied):
            scope = self._gatekeeper.scope(headers)
            seen = (lambda key: True) if scope == EVERY_PROJECT else (lambda key: key[0] == scope)
            live = {"/".join(key): one.release.number for key, one in self._keeper.runtimes.items() if seen(key)}
            failures = {"/".join(key): why for key, why in self._keeper.failures.items() if seen(key)}
            document |= {"releases": live, "failures": failures}
            if scope == EVERY_PROJECT:
                document |= {"sealing": self._parts.sealer.failure, "kept_aside": self._parts.spool.kept_aside}
        return Answer(200, _encoder.encode(document))


def _error(error: LoopwrightError, *, is_v2: bool) -> Answer:
    if not is_v2:
        return Answer(error.http_status, _encoder.encode({"error": error.to_dict()}))
    status = 400 if error.http_status in (409, 422) else error.http_status
    return Answer(status, _encoder.encode({"error": str(error)}))


def _unknown(name: str, names: Sequence[str]) -> NotFound:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"live here: {', '.join(sorted(names)[:10]) or 'none yet'}"
    return NotFound(f"no deployment is named {name}", field="deployment", value=name, next_step=hint)


def _settle(done: "asyncio.Future[None]", why: Exception | None) -> None:
    if not done.done():
        done.set_result(None) if why is None else done.set_exception(why)


def _route_name(steps: Sequence[str]) -> str:
    if steps[1] == "v1":
        return steps[-1] if steps[-1] in ("predict", "labels", "predictions", "push") else "other"
    if steps[1] == "v2":
        return "infer" if steps[-1] == "infer" else "v2"
    return steps[1] if steps[1] in ("healthz", "metrics", "internal") else "other"
