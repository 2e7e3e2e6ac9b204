"""A gateway in a process of its own, and the smallest server it can follow."""

import asyncio
import contextlib
import io
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loopwright.config import child_environment
from loopwright.data import DatasetSpec, SourceSpec
from loopwright.features import LabelSpec, RequestSpec, ServiceSpec
from loopwright.governance import SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes, from_json, to_json
from loopwright.kernel.errors import LoopwrightError
from loopwright.registry import InputColumn, artifacts
from loopwright.registry.flavours.constant import ConstantModel
from loopwright.serving import DeploymentSpec, Release
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.wire.credentials import read_gateway
from tests.databases import open_sqlite
from tests.servers import ThreadedServer, free_port
from tests.waiting import PATIENCE_S, wait_until

TOKEN = "lws_test"


class MiniServer:
    """The verbs route over a dispatcher, in a thread; it can be stopped and started again."""

    def __init__(self, state: Path) -> None:
        self.database = open_sqlite(state / "loopwright.db")
        self.dispatcher = Dispatcher(self.database)
        self._server = ThreadedServer(log_level="warning")
        self.url = self._server.url

    def call(self, verb: str, /, project: str = "flights", **args: Any) -> Any:
        return self.dispatcher.call(verb, args, actor=SERVICE_ACTOR, project=project)

    def start(self) -> None:
        app = Starlette(routes=[Route("/v1/{project}/verbs/{name}", self._verb, methods=["POST"])])
        self._server.start(app)

    def stop(self) -> None:
        self._server.stop(at_once=True)

    async def _verb(self, request: Request) -> Response:
        assert read_gateway(request.headers["authorization"].removeprefix("Bearer "), TOKEN), "a gateway proves itself"
        args = from_json(await request.body(), dict[str, Any])
        deadline = time.monotonic() + float(request.query_params.get("wait_s", "0"))
        names = request.path_params
        while True:
            try:
                answer = self.dispatcher.call(names["name"], args, actor=SERVICE_ACTOR, project=names["project"])
            except LoopwrightError as error:
                return Response(to_json({"error": error.to_dict()}), error.http_status)
            if answer or time.monotonic() >= deadline:
                return Response(to_json(answer))
            if self._server.is_stopping:
                return Response(to_json(answer))
            await asyncio.sleep(0.02)


class GatewayProcess:
    """``python -m loopwright.gateway`` on a state folder."""

    def __init__(self, state: Path, url: str, **environment: str) -> None:
        self.state, self.port = state, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = child_environment(
            LOOPWRIGHT_STATE=str(state),
            LOOPWRIGHT_URL=url,
            LOOPWRIGHT_SERVICE_TOKEN=TOKEN,
            LOOPWRIGHT_GATEWAY_PORT=str(self.port),
            PYTHONPATH=str(Path(__file__).parents[2] / "src"),
            **environment,
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.state / "gateway.log").open("ab") as log:
            command = [sys.executable, "-m", "loopwright.gateway"]
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        wait_until(self._is_up, lambda: self.log)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", timeout=PATIENCE_S).status_code == 200
        return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)

    @property
    def health(self) -> dict[str, Any]:
        """What it says of itself to the platform's own."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        told: dict[str, Any] = httpx.get(f"{self.url}/healthz", headers=headers, timeout=PATIENCE_S).json()
        return told

    def wait_for(self, check: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until what it says of itself is so, and return that."""

        def checked() -> dict[str, Any] | None:
            health = self.health
            return health if check(health) else None

        health = wait_until(checked, lambda: (self.health, self.log))
        assert health is not None
        return health

    def post(self, path: str, document: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=document, timeout=PATIENCE_S, **options)

    def seal(self, streams: dict[str, Any] | None = None) -> dict[str, int]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        body = b"" if streams is None else to_json(streams)
        answer = httpx.post(f"{self.url}/internal/seal", content=body, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        found: dict[str, int] = answer.json()
        return found

    @property
    def log(self) -> str:
        return (self.state / "gateway.log").read_text()


class World:
    """A server with a project ``flights``, and what a test needs to put releases into it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.server = MiniServer(state)
        self.blobs: BlobStore = open_blob_store(str(state / "blobs"))
        self.gateways: list[GatewayProcess] = []

    def gateway(self, state: Path | None = None, /, **environment: str) -> GatewayProcess:
        made = GatewayProcess(state or self.state, self.server.url, **environment)
        self.gateways.append(made)
        return made

    def project(self, name: str = "flights", clock: str = "wall") -> None:
        self.server.call("projects.create", project=SYSTEM, name=name, clock=clock)

    def register(self, model: Any, columns: Any, task: str = "binary", *, name: str = "late", **options: Any) -> int:
        """Store a fitted model and register it; return its version."""
        folder = self.state / f"model-{time.monotonic_ns()}"
        saved = artifacts.save_model(model, folder, columns, task)  # type: ignore[arg-type]
        for file in saved.files:
            self.blobs.put_file(folder / file.path)
        project = options.pop("project", "flights")
        made = self.server.call(
            "registry.register",
            project,
            model=name,
            flavour=saved.flavour,
            files=msgspec.to_builtins(saved.files),
            signature=msgspec.to_builtins(saved.signature),
            **options,
        )
        return int(made.version)

    def serve_function(self, code: str, name: str = "late", project: str = "flights", **options: Any) -> Release:
        """Release a constant model behind the on-request function ``asked`` of some code: ``x`` in, ``y`` out."""
        function = CodeRef(self.code(**{f"code_{name}": code}), f"code_{name}", "asked", digest_bytes(code.encode()))
        specs: list[tuple[str, Any]] = [
            ("data.declare", DatasetSpec("asked_rows", SourceSpec("push"), ["id"], "at")),
            ("features.declare_request", RequestSpec(name, ["x"], ["y"], function)),
            ("features.declare_service", ServiceSpec(name, [name], [], LabelSpec("asked_rows", "y"), "binary")),
        ]
        for verb, spec in specs:
            self.server.call(verb, project, spec=msgspec.to_builtins(spec))
        plan = self.server.call("features.freeze_plan", project, service=name)
        columns = [InputColumn("y", "number")]
        named = {"name": name, "project": project, "plan_digest": plan, "service": name}
        version = self.register(ConstantModel(0.3), columns, **named)
        if not options:
            self.declare(name, model=name, project=project, timeout_us=2_000_000)
            return self.release(version, name=name, project=project)
        return self.release(options.pop("champion"), name=name, project=project, candidate=version, **options)

    def declare(self, name: str = "late", *, task: str = "binary", project: str = "flights", **options: Any) -> None:
        spec = msgspec.to_builtins(DeploymentSpec(name, options.pop("model", "late"), task, **options))
        self.server.call("serving.declare", project, spec=spec)

    def release(self, champion: int, *, name: str = "late", project: str = "flights", **options: Any) -> Release:
        found: Release = self.server.call(
            "serving.release", project, deployment=name, champion=champion, reason="test", **options
        )
        return found

    def chunks(self, kind: str, stream: str = "late", project: str = "flights") -> Any:
        """Return every registered row of a stream as a Polars frame."""
        import polars as pl

        found = self.server.call("chunks.find", project, kind=kind, stream=stream)
        frames = [pl.read_parquet(self.blobs.path(chunk.digest)) for chunk in found]
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()

    def code(self, **modules: str) -> str:
        """Store a packed project; return its digest."""
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as packed:
            for name, text in modules.items():
                packed.writestr(zipfile.ZipInfo(f"{name.replace('.', '/')}.py"), text)
        self.blobs.put(body.getvalue())
        return digest_bytes(body.getvalue())


def booster(columns: int, seed: int = 0, task: str = "binary", *, is_turned: bool = False) -> Any:
    """Fit a small LightGBM model on columns ``x0..``, or on the same names from the last to the first."""
    import lightgbm

    random = np.random.default_rng(seed)
    matrix = random.normal(size=(500, columns))
    label = matrix[:, 0] + 0.5 * random.normal(size=500)
    target = (label > 0).astype(int) if task == "binary" else label
    names = [f"x{index}" for index in range(columns)]
    dataset = lightgbm.Dataset(matrix, target, feature_name=names[::-1] if is_turned else names)
    return lightgbm.train({"objective": task, "verbose": -1, "num_threads": 1, "num_leaves": 7}, dataset, 20)


def number_columns(count: int) -> Any:
    import polars as pl

    return pl.DataFrame({f"x{place}": [0.0] for place in range(count)})


def x_row(count: int, value: float = 0.5) -> dict[str, float]:
    return {f"x{place}": value + place for place in range(count)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server that runs, with the project ``flights``; every gateway of the test is ended with it."""
    with running_world(tmp_path) as made:
        yield made


@contextlib.contextmanager
def running_world(state: Path) -> Iterator[World]:
    made = World(state)
    made.server.start()
    made.project()
    try:
        yield made
    finally:
        for gateway in made.gateways:
            gateway.stop()
        made.server.stop()
        made.server.database.close()
