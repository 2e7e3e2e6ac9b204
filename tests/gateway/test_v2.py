"""Open Inference Protocol V2: shapes of requests, answers and errors as the specification has them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopwright.registry import InputColumn
from loopwright.registry.flavours.constant import ConstantModel
from tests.gateway.conftest import GatewayProcess, World, booster, number_columns

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    world = World(Path(tmp_path_factory.mktemp("v2")))
    world.server.start()
    world.project()
    first, second = (world.register(booster(2, seed), number_columns(2)) for seed in (1, 2))
    world.declare()
    world.release(first, candidate=second, weight=0.5)
    columns = [InputColumn("carrier", "category", ["AA"]), InputColumn("is_wet", "boolean")]
    world.declare("kinds", model="kinds", task="multiclass")
    world.release(world.register(ConstantModel([0.2, 0.8]), columns, "multiclass", name="kinds"), name="kinds")
    world.declare("turned", model="turned")
    turned = [world.register(booster(2), number_columns(2), name="turned")]
    turned.append(world.register(booster(2, is_turned=True), number_columns(2), name="turned"))
    world.release(turned[0], name="turned", candidate=turned[1], weight=0.999)
    made = world.gateway()
    made.start()
    made.wait_for(lambda health: len(health["releases"]) == 3)
    yield made
    made.stop()
    world.server.stop()
    world.server.database.close()


def tensor(name: str = "input0", shape: Any = (2, 2), datatype: str = "FP64", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(shape),
        "datatype": datatype,
        "data": fields.pop("data", [1, 2, 3, 4.5]),
        **fields,
    }


def test_health_and_metadata(gateway: GatewayProcess) -> None:
    get = lambda path: httpx.get(f"{gateway.url}{path}").json()  # noqa: E731
    assert get("/v2")["name"] == "loopwright"
    assert get("/v2/health/live") == {"live": True}
    assert get("/v2/health/ready")["ready"] is True
    assert get("/v2/models/late/ready") == {"name": "late", "ready": True}
    assert get("/v2/models/flights.late/versions/2/ready")["ready"] is True
    found = get("/v2/models/late")
    assert set(found["versions"]) == {"1", "2"}
    assert found["inputs"] == [{"name": f"x{i}", "datatype": "FP64", "shape": [-1]} for i in range(2)]
    assert [(one["name"], one["datatype"]) for one in found["outputs"]] == [
        ("score", "FP64"),
        ("prediction_id", "BYTES"),
    ]


def test_a_matrix_and_columns_give_the_same_scores(gateway: GatewayProcess) -> None:
    path = "/v2/models/late/versions/1/infer"
    matrix = gateway.post(path, {"id": "42", "inputs": [tensor()]}).json()
    assert (matrix["model_name"], matrix["model_version"], matrix["id"]) == ("late", "1", "42")
    scores, ids = matrix["outputs"]
    assert (scores["name"], scores["datatype"], scores["shape"]) == ("score", "FP64", [2])
    assert (ids["datatype"], len(set(ids["data"]))) == ("BYTES", 2)
    nested = gateway.post(path, {"inputs": [tensor(data=[[1, 2], [3, 4.5]])]}).json()
    columns = [tensor("x1", [2], data=[2, 4.5]), tensor("x0", [2, 1], "INT64", data=[1, 3])]
    by_name = gateway.post(path, {"inputs": columns, "outputs": [{"name": "score"}]}).json()
    plain = gateway.post("/v1/flights/deployments/late/predict", {"rows": [{"x0": 1, "x1": 2}]}).json()
    assert nested["outputs"][0]["data"] == scores["data"] == by_name["outputs"][0]["data"]
    assert [output["name"] for output in by_name["outputs"]] == ["score"]
    assert plain["predictions"][0]["prediction_id"] not in ids["data"]


def test_a_candidate_with_another_order_of_columns_turns_nothing_around(gateway: GatewayProcess) -> None:
    columns = lambda path: [one["name"] for one in httpx.get(f"{gateway.url}{path}").json()["inputs"]]  # noqa: E731
    assert columns("/v2/models/turned") == ["x0", "x1"]
    assert columns("/v2/models/turned/versions/2") == ["x1", "x0"]
    matrix = gateway.post("/v2/models/turned/infer", {"inputs": [tensor()]}).json()
    rows = [{"x0": 1, "x1": 2}, {"x0": 3, "x1": 4.5}]
    plain = gateway.post("/v1/flights/deployments/turned/predict", {"rows": rows}).json()["predictions"]
    assert {one["variant"] for one in plain} == {"candidate"}
    assert matrix["outputs"][0]["data"] == [one["score"] for one in plain]
    chosen = gateway.post("/v2/models/turned/versions/2/infer", {"inputs": [tensor(data=[2, 1, 4.5, 3])]}).json()
    assert chosen["outputs"][0]["data"] == matrix["outputs"][0]["data"]


def test_classes_are_outputs(gateway: GatewayProcess) -> None:
    inputs = [tensor("carrier", [1], "BYTES", data=["AA"]), tensor("is_wet", [1], "BOOL", data=[True])]
    outputs = gateway.post("/v2/models/kinds/infer", {"inputs": inputs}).json()["outputs"]
    assert (outputs[0]["shape"], outputs[0]["data"]) == ([1, 2], [0.2, 0.8])
    assert outputs[1]["data"] == ["1"]


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [tensor(shape=[2, 3])],
        [tensor(shape=[1, 4])],
        [tensor(shape=[-2, -2])],
        [tensor(shape=[4])],
        [tensor(datatype="FP99")],
        [tensor(datatype="INT64")],
        [tensor(datatype="UINT8", data=[1, 2, 3, 256])],
        [tensor(datatype="BOOL")],
        [tensor(data=["1", 2, 3, 4])],
        [tensor(data=[[1, 2], 3, 4])],
        [tensor(data=[[1, 2], [3]])],
        [tensor("x0", [2], data=[1, 2])],
        [tensor("x0", [2], data=[1, 2]), tensor("x1", [1], data=[1])],
        [tensor("x0", [1], data=[1]), tensor("x0", [1], data=[1])],
        [tensor("x0", [1], "BYTES", data=["NaN"]), tensor("x1", [1], data=[1])],
        [tensor("x0", [0], data=[]), tensor("x1", [0], data=[])],
    ],
)
def test_wrong_tensors_are_a_400_with_text(gateway: GatewayProcess, inputs: list[Any]) -> None:
    answer = gateway.post("/v2/models/late/infer", {"inputs": inputs})
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["error"], str)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": 1}', b'{"inputs": [{"name": "a"}]}'])
def test_a_body_that_is_no_request_is_a_400(gateway: GatewayProcess, body: bytes) -> None:
    answer = httpx.post(f"{gateway.url}/v2/models/late/infer", content=body)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize(
    "path", ["/v2/models/nope/infer", "/v2/models/late/versions/9/infer", "/v2/models/late/nope", "/v2/nope"]
)
def test_unknown_addresses_are_a_404_with_text(gateway: GatewayProcess, path: str) -> None:
    answer = gateway.post(path, {"inputs": [tensor()]})
    assert answer.status_code == 404
    assert isinstance(answer.json()["error"], str)


def test_an_unknown_output_is_refused(gateway: GatewayProcess) -> None:
    answer = gateway.post("/v2/models/late/infer", {"inputs": [tensor()], "outputs": [{"name": "nope"}]})
    assert answer.status_code == 400
