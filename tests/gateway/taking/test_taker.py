"""Rows of one project: what hangs there is stopped, and pushes of others go on."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from loopwright.data import DatasetSpec, SourceSpec
from loopwright.features import ColumnViewSpec, LabelSpec, ServiceSpec
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes
from loopwright.registry import InputColumn
from loopwright.registry.flavours.constant import ConstantModel
from tests.gateway.conftest import GatewayProcess, World
from tests.gateway.underway import Underway

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
CODE = """
def slow(frame):
    while True: pass
"""


def declare(world: World, name: str, project: str = "flights", function: str = "") -> None:
    transform = None
    if function:
        transform = CodeRef(world.code(rows=CODE), "rows", function, digest_bytes(CODE.encode()))
    spec = DatasetSpec(name, SourceSpec("push"), ["id"], "at", {}, transform)
    world.server.call("data.declare", project, spec=msgspec.to_builtins(spec))


def place(name: str, project: str = "flights") -> str:
    return f"/v1/{project}/datasets/{name}/push"


def rows_of(count: int) -> list[dict[str, Any]]:
    return [{"id": str(number), "at": "2026-03-01T12:00:00Z", "value": 1.0} for number in range(count)]


def push(gateway: GatewayProcess, name: str, project: str = "flights", rows: int = 1) -> Any:
    return gateway.post(place(name, project), {"rows": rows_of(rows)})


@pytest.fixture
def gateway(world: World) -> GatewayProcess:
    world.project("other")
    declare(world, "plain")
    declare(world, "plain", "other")
    declare(world, "stuck", function="slow")
    view = ColumnViewSpec("recent", "stuck", "id", ["value"])
    service = ServiceSpec("late", [], ["recent"], LabelSpec("plain", "value"), "binary")
    world.server.call("features.declare_view", spec=msgspec.to_builtins(view))
    world.server.call("features.declare_service", spec=msgspec.to_builtins(service))
    plan = world.server.call("features.freeze_plan", service="late")
    named = {"plan_digest": plan, "service": "late"}
    world.declare()
    world.release(world.register(ConstantModel(0.3), [InputColumn("value", "number")], **named))
    made = world.gateway()
    made.start()
    made.wait_for(lambda health: bool(health["releases"]))
    return made


def test_bulk_and_small_rows_are_logged(world: World, gateway: GatewayProcess) -> None:
    world.declare("scorecard", model="elsewhere", is_external=True)
    for count in (1, 3_000):
        assert push(gateway, "plain", rows=count).json() == {"accepted": count}
        rows = [{"id": f"{count}-{number}", "score": 0.5, "features": {"x": number}} for number in range(count)]
        path = "/v1/flights/deployments/scorecard"
        assert gateway.post(f"{path}/predictions", {"predictions": rows}).json() == {"accepted": count}
        labels = [{"prediction_id": row["id"], "label": 1} for row in rows]
        assert gateway.post(f"{path}/labels", {"labels": labels}).json() == {"accepted": count}
    refused = gateway.post(f"{path}/labels", {"labels": [*labels, {"prediction_id": "x"}]})
    assert refused.json()["error"]["field"] == "labels[3000].label"
    gateway.seal()
    assert world.chunks("predictions", "scorecard").height == 3_001
    assert world.chunks("labels", "scorecard").height == 3_001
    assert world.chunks("pushes", "plain").height == 3_001


def test_a_transform_that_hangs_is_stopped_and_keeps_no_other_project_waiting(
    world: World, gateway: GatewayProcess
) -> None:
    assert push(gateway, "plain", "other").status_code == 200
    stuck = Underway(gateway.url, place("stuck"), {"rows": rows_of(1)})
    assert stuck.lets_pass(lambda: push(gateway, "plain", "other"), enough=10)
    answer = stuck.answer()
    assert answer.status_code == 503
    assert "took longer than" in answer.json()["error"]["message"]
    assert push(gateway, "plain").status_code == 200
    gateway.seal()
    assert world.chunks("pushes", "plain").height == 1
    assert world.chunks("pushes", "stuck").is_empty()


@contextmanager
def silence(port: int) -> Iterator[None]:
    """Listen on a port, take connections and never answer."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        yield


def test_an_unknown_dataset_keeps_no_known_one_waiting_while_the_server_hangs(
    world: World, gateway: GatewayProcess
) -> None:
    assert push(gateway, "plain").status_code == 200
    world.server.stop()
    with silence(int(world.server.url.rsplit(":", 1)[1])):
        unknown = [Underway(gateway.url, place(f"unknown{number % 2}"), {"rows": rows_of(1)}) for number in range(6)]
        known = push(gateway, "plain")
        assert (known.status_code, known.json()) == (200, {"accepted": 1})
        assert not any(request.is_answered() for request in unknown)
        answers = [request.answer() for request in unknown]
    assert {answer.status_code for answer in answers} == {503}
    world.server.start()
