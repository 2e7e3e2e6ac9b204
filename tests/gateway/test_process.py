"""The process: killed under load it loses and doubles nothing, without a server it starts and answers."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import polars as pl
import pytest

from loopwright.client.caller import HttpCaller
from loopwright.registry.flavours.constant import ConstantModel
from loopwright.serving.predictions import latest
from loopwright.wire.endpoints import Endpoint
from tests.gateway.conftest import GatewayProcess, World, booster, number_columns, x_row
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow
PREDICT = "/v1/flights/deployments/late/predict"


class Load:
    """Clients that ask without pause and keep what was acknowledged."""

    def __init__(
        self, gateway: GatewayProcess, clients: int = 4, path: str = PREDICT, make: Callable[[], Any] | None = None
    ):
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._url, self._stop = f"{gateway.url}{path}", threading.Event()
        self._make = make or (lambda: {"rows": [x_row(3), x_row(3, 1.0)]})
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, answers: int) -> None:
        wanted = len(self.answers) + answers
        wait_until(lambda: len(self.answers) >= wanted, lambda: self.failures[-3:])

    def _ask(self) -> None:
        with httpx.Client(timeout=PATIENCE_S) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(self._url, json=self._make())
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    time.sleep(0.02)
                    continue
                if answer.status_code == 200:
                    self.answers.append(answer.json())
                else:
                    self.failures.append(answer.text)

    @property
    def ids(self) -> list[str]:
        return [one["prediction_id"] for answer in self.answers for one in answer["predictions"]]


class Lossy(ThreadingHTTPServer):
    """Stands between a client and a gateway: an answer that is to be lost has left the gateway, and comes to nobody.

    Args:
        url: Of the gateway.
    """

    daemon_threads = True

    def __init__(self, url: str) -> None:
        self.url_behind = url
        self.when_lost: list[Callable[[], None]] = []
        side = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                named = {name: self.headers[name] for name in ("content-type", "idempotency-key")}
                answer = httpx.post(side.url_behind + self.path, content=body, headers=named, timeout=PATIENCE_S)
                if side.when_lost:
                    assert answer.status_code == 200, answer.text
                    side.when_lost.pop(0)()
                    return
                self.send_response(answer.status_code)
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def lossy() -> Iterator[Lossy]:
    made = Lossy("")
    yield made
    made.shutdown()
    made.server_close()


def start_served(world: World, **environment: str) -> GatewayProcess:
    world.declare()
    world.release(world.register(booster(3), number_columns(3)))
    gateway = world.gateway(**environment)
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    return gateway


@pytest.mark.parametrize("durability", ["process", "power"])
def test_kill_under_load_loses_and_doubles_nothing(world: World, durability: str) -> None:
    gateway = start_served(world, LOOPWRIGHT_DURABILITY=durability)
    with Load(gateway) as load:
        for answers in (40, 150, 10):
            load.wait_for_more(answers)
            gateway.kill()
            gateway.start()
    gateway.seal()
    logged = world.chunks("predictions")["prediction_id"].to_list()
    assert len(load.ids) > 100
    assert len(set(logged)) == len(logged)
    assert set(load.ids) <= set(logged)


@pytest.mark.parametrize("rows", [2, 1000], ids=["answered in the gateway", "answered in a child"])
def test_a_prediction_whose_answer_was_lost_with_its_gateway_counts_once(world: World, lossy: Lossy, rows: int) -> None:
    gateway = start_served(world)
    lossy.url_behind = gateway.url
    caller = HttpCaller(world.server.url, lossy.url, patience_s=PATIENCE_S)
    late = Endpoint("flights", "late", caller.gateway)
    asked = [x_row(3, float(row)) for row in range(rows)]
    known = late.predict(asked[:1])

    def kill() -> None:
        gateway.kill()
        gateway.start()

    def go_elsewhere() -> None:
        gateway.kill()
        other = GatewayProcess(world.state / "elsewhere", world.server.url)
        world.gateways.append(other)
        other.state.mkdir()
        (other.state / "blobs").symlink_to(world.state / "blobs")
        other.start()
        other.wait_for(lambda health: bool(health["releases"]))
        lossy.url_behind = other.url

    lossy.when_lost = [kill, go_elsewhere]
    heard = late.predict(asked)
    assert lossy.when_lost == []
    gateway.start()
    for one in world.gateways:
        one.seal()
    logged = world.chunks("predictions").filter(pl.col("prediction_id") != known[0]["prediction_id"])
    assert logged.height == 3 * rows, "the three tries came as far as the log"
    counted = latest(logged.lazy()).collect()
    assert sorted(counted["prediction_id"]) == sorted(one["prediction_id"] for one in heard)
    assert counted["score"].sort().to_list() == sorted(one["score"] for one in heard)
    caller.close()


def test_predictions_go_on_and_start_without_the_server(world: World) -> None:
    gateway = start_served(world)
    world.server.stop()
    with Load(gateway, clients=1) as load:
        gateway.wait_for(lambda health: health["sealing"] != "")
        load.wait_for_more(10)
    assert load.failures == []
    gateway.kill()
    gateway.start()
    answer = gateway.post(PREDICT, {"rows": [x_row(3)]})
    assert answer.status_code == 200, (answer.text, gateway.log)
    before = answer.json()["predictions"][0]
    assert before["model_version"] == 1
    gateway.wait_for(lambda health: health["sealing"] != "")
    world.server.start()
    gateway.wait_for(lambda health: health["sealing"] == "")
    gateway.seal()
    logged = world.chunks("predictions")["prediction_id"].to_list()
    assert sorted(logged) == sorted([*load.ids, before["prediction_id"]])


def test_an_empty_gateway_starts_without_the_server_and_says_it_is_not_ready(world: World) -> None:
    world.server.stop()
    gateway = world.gateway()
    gateway.start()
    assert httpx.get(f"{gateway.url}/v2/health/ready").status_code == 503
    assert httpx.get(f"{gateway.url}/v2/health/live").status_code == 200
    world.server.start()
    wait_until(lambda: httpx.get(f"{gateway.url}/v2/health/ready").status_code == 200)


def test_it_drains_when_told_to_stop_and_says_nothing(world: World) -> None:
    gateway = start_served(world)
    assert gateway.process is not None
    with Load(gateway, clients=2) as load:
        load.wait_for_more(20)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(PATIENCE_S)
    assert gateway.process.returncode in (0, -signal.SIGTERM)
    logged = world.chunks("predictions")["prediction_id"].to_list()
    assert set(load.ids) <= set(logged)
    assert gateway.log == ""


def test_one_gateway_a_folder_and_open_only_on_loopback(world: World) -> None:
    exposed = world.gateway(LOOPWRIGHT_HOST="0.0.0.0")
    with pytest.raises(AssertionError, match="open gateway may only listen on the loopback"):
        exposed.start()


def test_idle_memory_is_small(world: World) -> None:
    world.declare()
    world.release(world.register(ConstantModel(0.5), number_columns(1)))
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    assert gateway.process is not None
    with open(f"/proc/{gateway.process.pid}/status") as status:
        resident_kb = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    assert resident_kb < 110 * 1024
