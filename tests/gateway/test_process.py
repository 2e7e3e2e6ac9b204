"""The process: killed under load it loses and doubles nothing, without a server it starts and answers."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from loopwright.registry.flavours.constant import ConstantModel
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
