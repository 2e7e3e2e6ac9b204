"""Isolation: what hangs or crashes in one deployment is stopped, told and logged, and touches no other."""

import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest

from loopwright.gateway.answering.runtime import MOST_ROWS
from loopwright.registry.flavours.constant import ConstantModel
from tests.gateway.conftest import TOKEN, GatewayProcess, World, booster, number_columns, x_row
from tests.gateway.underway import Underway
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * PATIENCE_S)]
OTHER = "/v1/flights/deployments/other/predict"
FUNCTION = """
import os, time
import polars as pl

def asked(r):
    for x in r["x"]:
        if x == "hang":
            while True: pass
        if x == "abort":
            os.abort()
        if x == "sleep":
            time.sleep(1.0)
        if x == "raise":
            raise ValueError("no")
    return pl.DataFrame({"y": [1.0] * r.height})
"""


def path(name: str = "late") -> str:
    return f"/v1/flights/deployments/{name}/predict"


def ask(gateway: GatewayProcess, x: str, name: str = "late") -> httpx.Response:
    return gateway.post(path(name), {"rows": [{"x": x, "row_key": x}]})


@pytest.fixture
def gateway(world: World, monkeypatch: pytest.MonkeyPatch) -> GatewayProcess:
    """A deployment with a function, and another without."""
    world.serve_function(FUNCTION)
    world.declare("other", model="other")
    world.release(world.register(ConstantModel(0.5), number_columns(1), name="other"), name="other")
    made = world.gateway()
    made.start()
    made.wait_for(lambda health: len(health["releases"]) == 2)
    return made


def underway(gateway: GatewayProcess, x: str) -> Underway:
    return Underway(gateway.url, path(), {"rows": [{"x": x, "row_key": x}]})


TRIES = 20


def others_pass(gateway: GatewayProcess, request: Underway) -> bool:
    """Say whether the other deployment and the health check are answered before a request is."""
    with httpx.Client(base_url=gateway.url, timeout=PATIENCE_S) as client:
        health, other = lambda: client.get("/healthz"), lambda: client.post(OTHER, json={"rows": [x_row(1)]})
        return request.lets_pass(health) and request.lets_pass(other)


def errors(world: World, gateway: GatewayProcess) -> dict[str, str | None]:
    """Return the logged error of each row, by its key."""
    gateway.seal()
    return {row["row_key"]: row["error"] for row in world.chunks("predictions").to_dicts()}


def test_an_endless_function_is_stopped_told_and_logged(world: World, gateway: GatewayProcess) -> None:
    assert ask(gateway, "fine").status_code == 200
    stuck = underway(gateway, "hang")
    assert others_pass(gateway, stuck)
    answer = stuck.answer()
    assert answer.status_code == 504
    assert "within 2 s" in answer.json()["error"]["rule"]
    deadline = time.monotonic() + 30
    while (again := ask(gateway, "again")).status_code != 200:
        assert again.status_code in (503, 504)
        if again.status_code == 503:
            assert int(again.headers["retry-after"]) >= 1
        assert time.monotonic() < deadline
        time.sleep(0.1)
    logged = errors(world, gateway)
    assert "took longer than 2 s" in str(logged["hang"])
    assert logged["fine"] is None
    assert logged["again"] is None
    assert gateway.process is not None
    last = underway(gateway, "hang")
    assert others_pass(gateway, last)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(PATIENCE_S) in (0, -signal.SIGTERM)
    last.close()


def test_a_function_that_sleeps_keeps_nobody_else_waiting(gateway: GatewayProcess) -> None:
    asleep = underway(gateway, "sleep")
    assert others_pass(gateway, asleep)
    assert asleep.answer().status_code == 200


def test_a_function_that_ends_its_process_costs_its_own_rows(world: World, gateway: GatewayProcess) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda x: ask(gateway, x), ["abort", *(f"n{number}" for number in range(8))]))
    assert answers[0].status_code == 503
    assert "SIGABRT" in answers[0].json()["error"]["message"]
    assert {answer.status_code for answer in answers} <= {200, 503}
    deadline = time.monotonic() + 30
    while ask(gateway, "later").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    logged = errors(world, gateway)
    assert "SIGABRT" in str(logged["abort"])
    rows = world.chunks("predictions")
    assert rows["prediction_id"].n_unique() == rows.height


def test_a_candidate_that_hangs_is_left_alone_and_the_champion_answers(world: World, gateway: GatewayProcess) -> None:
    code = FUNCTION.replace('x == "hang"', 'x != ""')
    world.serve_function(code, champion=1, weight=0.3)
    gateway.wait_for(lambda health: health["releases"]["flights/late"] == 2)
    began, answers = time.monotonic(), list[int]()
    while answers.count(200) <= 100:
        answers.append(ask(gateway, f"k{len(answers)}").status_code)
        assert time.monotonic() - began < PATIENCE_S, answers
    # It is tried again after 1 s, then after 2, 4 and so on, however long the whole takes.
    pauses = [min(2**tries, 60) for tries in range(answers.count(504) - 1)]
    assert sum(pauses) <= time.monotonic() - began, "it was not left alone"
    logged = {row["row_key"]: row for row in _sealed(world, gateway) if row["release"] == 2}
    candidate = [row for row in logged.values() if row["variant"] == "candidate"]
    assert len(candidate) > 10
    assert all(row["error"] for row in candidate)
    assert not any(row["error"] for row in logged.values() if row["variant"] == "champion")


def test_a_shadow_that_hangs_is_logged_and_keeps_no_answer(world: World, gateway: GatewayProcess) -> None:
    code = FUNCTION.replace('x == "hang"', 'x == "k1"')
    world.serve_function(code, champion=1, is_shadow=True)
    gateway.wait_for(lambda health: health["releases"]["flights/late"] == 2)
    answered = [ask(gateway, f"k{number}").json()["predictions"][0]["prediction_id"] for number in range(2)]
    rows: list[dict[str, Any]] = []
    deadline = time.monotonic() + 30
    while sum(row["is_shadow"] for row in rows) < 2:
        assert time.monotonic() < deadline
        rows = [row for row in _sealed(world, gateway) if row["release"] == 2]
    shadow = {row["row_key"]: row for row in rows if row["is_shadow"]}
    assert {row["prediction_id"] for row in shadow.values()} == set(answered)
    assert shadow["k0"]["error"] is None
    assert "took longer" in shadow["k1"]["error"]


def _sealed(world: World, gateway: GatewayProcess) -> list[dict[str, Any]]:
    gateway.seal()
    rows: list[dict[str, Any]] = world.chunks("predictions").to_dicts()
    return rows


@pytest.mark.parametrize("sizes", ["5", "99999999"])
def test_a_poisoned_model_leaves_the_release_before(world: World, sizes: str) -> None:
    world.declare()
    world.release(world.register(booster(3), number_columns(3)))
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    poisoned = world.register(booster(3, 1), number_columns(3))
    (file,) = world.server.call("registry.get_version", model="late", version=poisoned).files
    text = world.blobs.get(file.digest).decode()
    bad = re.sub("tree_sizes=.*", lambda found: "tree_sizes=" + " ".join([sizes] * found[0].count(" ")), text)
    stored = world.blobs.put(bad.encode())
    spec = world.server.call("registry.get_version", model="late", version=poisoned)
    version = world.server.call(
        "registry.register",
        model="late",
        flavour="lightgbm",
        files=[{"path": file.path, "digest": stored.digest, "size_bytes": stored.size_bytes}],
        signature=msgspec.to_builtins(spec.signature),
    ).version
    world.release(int(version))
    gateway.wait_for(lambda health: bool(health["failures"]))
    assert gateway.post(path(), {"rows": [x_row(3)]}).json()["release"] == 1
    assert gateway.process is not None
    assert gateway.process.poll() is None


def test_what_crashes_while_it_is_loaded_is_barred_and_told(world: World) -> None:
    world.serve_function(FUNCTION)
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    world.serve_function("import os\nos.abort()\n" + FUNCTION, champion=2, weight=0.5)
    health = gateway.wait_for(lambda health: bool(health["failures"]))
    assert "ended by SIGABRT" in health["failures"]["flights/late"]
    assert ask(gateway, "fine").json()["release"] == 1
    deadline = time.monotonic() + 30
    while not (failures := world.server.call("serving.status", deployment="late").failures):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "SIGABRT" in failures[0].why
    told = [event for event in world.server.call("audit.list") if event.type == "serving.release_failed"]
    assert [event.payload["number"] for event in told] == [2]
    gateway.stop()
    gateway.start()
    health = gateway.wait_for(lambda health: bool(health["releases"] and health["failures"]))
    assert "is barred here" in health["failures"]["flights/late"]
    assert ask(gateway, "fine").json()["release"] == 1


def test_a_model_that_cannot_answer_does_not_go_into_traffic(world: World) -> None:
    world.declare()
    world.release(world.register(ConstantModel(0.5), number_columns(1)))
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    version = world.register(ConstantModel([0.2, 0.8]), number_columns(1), "multiclass", name="other")
    spec = world.server.call("registry.get_version", model="other", version=version)
    signature = {**msgspec.to_builtins(spec.signature), "task": "binary", "classes": ["0", "1"]}
    made = world.server.call(
        "registry.register",
        model="late",
        flavour="constant",
        files=[msgspec.to_builtins(file) for file in spec.files],
        signature=signature,
    )
    world.release(int(made.version))
    health = gateway.wait_for(lambda health: bool(health["failures"]))
    assert "cannot answer" in health["failures"]["flights/late"]
    assert gateway.post(path(), {"rows": [x_row(1)]}).json()["release"] == 1


def test_a_large_request_keeps_nobody_waiting(world: World) -> None:
    world.declare()
    world.release(world.register(booster(30), number_columns(30)))
    world.declare("other", model="other")
    world.release(world.register(ConstantModel(0.5), number_columns(1), name="other"), name="other")
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: len(health["releases"]) == 2)
    small = gateway.post(path(), {"rows": [x_row(30)]}).json()["predictions"][0]["score"]
    rows = [x_row(30, 0.5 + number) for number in range(MOST_ROWS)]

    def is_passed_by(ask: Callable[[], httpx.Response]) -> bool:
        large = Underway(gateway.url, path(), {"rows": rows})
        passed = large.lets_pass(ask)
        predictions = large.answer().json()["predictions"]
        assert len(predictions) == MOST_ROWS
        assert predictions[0]["score"] == small
        return passed

    # It may be answered before anybody here has a turn to pass; one that let nobody pass would be so each time.
    with httpx.Client(base_url=gateway.url, timeout=PATIENCE_S) as client:
        for ask in (lambda: client.get("/healthz"), lambda: client.post(OTHER, json={"rows": [x_row(1)]})):
            assert any(is_passed_by(ask) for _ in range(TRIES))
    gateway.seal()
    assert world.chunks("predictions").height > MOST_ROWS


def test_secrets_are_not_in_the_environment_of_children(world: World) -> None:
    world.serve_function(
        "import os\nimport polars as pl\n"
        "def asked(r):\n"
        "    seen = [name for name in os.environ if 'TOKEN' in name]\n"
        "    seen += [TOKEN for TOKEN in ['" + TOKEN + "'] if TOKEN in open('/proc/self/environ').read()]\n"
        "    assert not seen or r['x'][0] == '', seen\n"
        "    return pl.DataFrame({'y': [1.0] * r.height})\n"
    )
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    assert ask(gateway, "x").status_code == 200, ask(gateway, "x").text
