"""What a caller sees: answers with ids, clear errors, and nothing that spoils a neighbour."""

import gzip
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from loopwright.governance import SYSTEM
from loopwright.registry import InputColumn
from loopwright.registry.flavours.constant import ConstantModel
from tests.gateway.conftest import TOKEN, GatewayProcess, World, booster, number_columns, x_row
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow
PREDICT = "/v1/flights/deployments/late/predict"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, GatewayProcess]]:
    """A binary model of three numbers, one with a category, one external, and one in a replayed project."""
    world = World(Path(tmp_path_factory.mktemp("served")))
    world.server.start()
    world.project()
    world.project("past", "replay")
    version = world.register(booster(3), number_columns(3))
    world.declare()
    world.release(version)
    columns = [InputColumn("carrier", "category", ["AA", "UA"]), InputColumn("is_wet", "boolean")]
    kinds = world.register(ConstantModel([0.2, 0.8]), columns, "multiclass", name="kinds")
    world.declare("kinds", model="kinds", task="multiclass")
    world.release(kinds, name="kinds")
    past = world.register(ConstantModel(0.3), number_columns(1), project="past")
    world.declare(project="past")
    world.release(past, project="past")
    world.declare("scorecard", model="elsewhere", is_external=True)
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: len(health["releases"]) == 3)
    yield world, gateway
    gateway.stop()
    world.server.stop()
    world.server.database.close()


@pytest.fixture
def gateway(served: tuple[World, GatewayProcess]) -> GatewayProcess:
    return served[1]


def refused(answer: httpx.Response) -> dict[str, Any]:
    assert "Traceback" not in answer.text
    error: dict[str, Any] = answer.json()["error"]
    return {"status": answer.status_code, **error}


def test_an_answer_carries_an_id_and_is_in_the_log(served: tuple[World, GatewayProcess]) -> None:
    world, gateway = served
    answer = gateway.post(PREDICT, {"rows": [{**x_row(3), "row_key": "UA1"}, {**x_row(3), "x1": None}]}).json()
    assert answer["deployment"] == "late"
    assert answer["release"] == 1
    first, second = answer["predictions"]
    assert (first["variant"], first["model_version"]) == ("champion", 1)
    assert "missing" not in first
    assert second["missing"] == {"x1": "NULL"}
    gateway.seal()
    logged = {row["prediction_id"]: row for row in world.chunks("predictions").to_dicts()}
    row = logged[first["prediction_id"]]
    assert row["score"] == first["score"]
    assert row["row_key"] == "UA1"
    assert [row[f"f.x{place}"] for place in range(3)] == [0.5, 1.5, 2.5]
    assert 0 <= row["bucket"] < 1
    assert row["latency_us"] > 0
    assert logged[second["prediction_id"]]["f.x1"] is None


def test_categories_and_classes(gateway: GatewayProcess) -> None:
    rows = [{"carrier": "UA", "is_wet": True}, {"carrier": "new", "is_wet": None}]
    answer = gateway.post("/v1/flights/deployments/kinds/predict", {"rows": rows}).json()["predictions"]
    assert answer[0]["answer"] == {"class": "1", "probabilities": {"0": 0.2, "1": 0.8}}
    assert answer[1]["missing"] == {"carrier": "UNKNOWN_CATEGORY", "is_wet": "NULL"}


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([{"x0": 1, "x1": 2}], "rows[0].x2"),
        ([x_row(3), {**x_row(3), "x1": "NaN"}], "rows[1].x1"),
        ([{**x_row(3), "x0": [1]}], "rows[0].x0"),
        ([{**x_row(3), "x0": True}], "rows[0].x0"),
        ([{**x_row(3), "x0": 10**400}], "rows[0].x0"),
        ([{**x_row(3), "event_at": 0}], "rows[0].event_at"),
        ([], "rows"),
    ],
)
def test_a_bad_row_is_named(gateway: GatewayProcess, rows: list[Any], field: str) -> None:
    error = refused(gateway.post(PREDICT, {"rows": rows}))
    assert (error["status"], error["field"]) == (422, field)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"rows": 1}', b'{"rows": [1]}', b'{"rows": [{"x0": NaN}]}', b'{"rows":' + b"[" * 50_000, b"\xff"],
)
def test_a_body_that_is_no_request(gateway: GatewayProcess, body: bytes) -> None:
    error = refused(httpx.post(f"{gateway.url}{PREDICT}", content=body))
    assert (error["status"], error["field"]) == (422, "body")


def test_a_large_body_is_refused_before_it_is_read(gateway: GatewayProcess) -> None:
    with httpx.Client() as client:
        answer = client.post(f"{gateway.url}{PREDICT}", content=b" " * (50 << 20), timeout=30)
    assert refused(answer)["status"] == 413


def test_too_many_rows(gateway: GatewayProcess) -> None:
    assert refused(gateway.post(PREDICT, {"rows": [x_row(3)] * 10_001}))["status"] == 413


def test_unknown_names(gateway: GatewayProcess) -> None:
    error = refused(gateway.post("/v1/flights/deployments/lat/predict", {"rows": [x_row(3)]}))
    assert (error["status"], error["next_step"]) == (404, "did you mean late?")
    assert error["message"] == "no deployment named lat is live"
    assert refused(gateway.post("/v1/flights/nothing", {}))["status"] == 404
    assert refused(gateway.post("/v1/flights/deployments/scorecard/predict", {"rows": [{}]}))["status"] == 409
    error = refused(gateway.post("/v1/flights/deployments/late/features", {"rows": [x_row(3)]}))
    assert (error["status"], error["field"]) == (409, "deployment"), "its requests carry all that its model reads"


def test_a_bad_row_does_not_spoil_those_beside_it(gateway: GatewayProcess) -> None:
    def ask(number: int) -> int:
        row = {**x_row(3), "x2": "bad" if number % 4 == 0 else 1.0}
        return gateway.post(PREDICT, {"rows": [row]}).status_code

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(64)))
    assert found == [422 if number % 4 == 0 else 200 for number in range(64)]


def test_replayed_projects_say_when(gateway: GatewayProcess) -> None:
    path = "/v1/past/deployments/late/predict"
    assert refused(gateway.post(path, {"rows": [{"x0": 1}]}))["field"] == "rows[0].event_at"
    assert refused(gateway.post(path, {"rows": [{"x0": 1, "event_at": "2013-03-01T00:00:00"}]}))["status"] == 422
    assert gateway.post(path, {"rows": [{"x0": 1, "event_at": "2013-03-01T00:00:00Z"}]}).status_code == 200


def test_labels_and_predictions_made_elsewhere(served: tuple[World, GatewayProcess]) -> None:
    world, gateway = served
    rows = [{"id": "case-1", "score": 0.4, "features": {"age": 30, "region": "N"}}, {"id": 2, "answer": {"x": 1}}]
    path = "/v1/flights/deployments/scorecard"
    assert gateway.post(f"{path}/predictions", {"predictions": rows}).json() == {"accepted": 2}
    labels = [{"prediction_id": "case-1", "label": True}, {"prediction_id": "unknown", "label": 0}]
    assert gateway.post(f"{path}/labels", {"labels": labels}).json() == {"accepted": 2}
    named = {"project": "flights", "kinds": ["predictions", "labels"], "stream": "scorecard"}
    assert gateway.seal(named)["rows"] <= 4
    found = world.chunks("predictions", "scorecard").sort("prediction_id").to_dicts()
    assert [row["prediction_id"] for row in found] == ["2", "case-1"]
    assert (found[1]["variant"], found[1]["f.age"], found[1]["f.region"]) == ("external", 30.0, "N")
    kept = world.chunks("labels", "scorecard").sort("prediction_id").to_dicts()
    assert [(row["label"], row["label_text"]) for row in kept] == [(1.0, None), (0.0, None)]


@pytest.mark.parametrize("rows", [2, 20_000])
def test_labels_by_key_go_to_a_stream_of_their_own(served: tuple[World, GatewayProcess], rows: int) -> None:
    """Few are read by the gateway itself, many by a child."""
    world, gateway = served
    labels = [{"row_key": f"F{rows}_{number}", "label": number % 2} for number in range(rows)]
    assert gateway.post("/v1/flights/deployments/late/labels", {"labels": labels}).json() == {"accepted": rows}
    gateway.seal({"project": "flights", "kinds": ["keyed_labels"], "stream": "late"})
    kept = world.chunks("keyed_labels").filter(pl.col("row_key").str.starts_with(f"F{rows}_"))
    assert dict(kept.select("row_key", "label").iter_rows()) == {row["row_key"]: row["label"] for row in labels}


def test_what_was_declared_a_moment_ago_is_known(served: tuple[World, GatewayProcess]) -> None:
    world, gateway = served
    for place in range(3):
        assert gateway.post("/v1/flights/deployments/none/predictions", {"rows": [{"id": "a"}]}).status_code == 404
        world.declare(f"newest{place}", model="elsewhere", is_external=True)
        rows = [{"id": "case-1", "score": 0.4}]
        answer = gateway.post(f"/v1/flights/deployments/newest{place}/predictions", {"predictions": rows})
        assert answer.json() == {"accepted": 1}


@pytest.mark.parametrize(
    ("path", "document", "field"),
    [
        ("late/labels", {"labels": [{"prediction_id": "a"}]}, "labels[0].label"),
        ("scorecard/labels", {"labels": [{"prediction_id": "a", "label": 1}, {"label": 1}]}, "labels[1].prediction_id"),
        ("late/labels", {"labels": [{"prediction_id": "my own id", "label": 1}]}, "labels[0].prediction_id"),
        ("late/labels", {"labels": [{"prediction_id": "pred_1", "label": "late"}]}, "labels[0].label"),
        ("kinds/labels", {"labels": [{"prediction_id": "pred_1", "label": 7}]}, "labels[0].label"),
        ("scorecard/labels", {"labels": [{"prediction_id": "a", "label": 7}]}, "labels[0].label"),
        ("late/labels", {"labels": []}, "rows"),
        ("scorecard/predictions", {"predictions": [{"id": "a"}]}, "predictions[0].score"),
        ("scorecard/predictions", {"predictions": [{"id": "a", "score": "x"}]}, "predictions[0].score"),
        (
            "scorecard/predictions",
            {"predictions": [{"id": "a", "score": 1, "event_at": "x"}]},
            "predictions[0].event_at",
        ),
    ],
)
def test_ingest_names_what_is_wrong(gateway: GatewayProcess, path: str, document: Any, field: str) -> None:
    error = refused(gateway.post(f"/v1/flights/deployments/{path}", document))
    assert (error["status"], error["field"]) == (422, field)


def test_other_sites_are_refused(gateway: GatewayProcess) -> None:
    rebound = gateway.post(PREDICT, {"rows": [x_row(3)]}, headers={"Host": "evil.example"})
    assert refused(rebound)["status"] == 403
    crossed = gateway.post(PREDICT, {"rows": [x_row(3)]}, headers={"Origin": "https://evil.example"})
    assert refused(crossed)["field"] == "Origin"


def raw(gateway: GatewayProcess, request: bytes) -> bytes:
    """Send bytes and return what comes back until the gateway hangs up."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as line:
        line.sendall(request)
        line.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := line.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", PREDICT, 405, "POST, OPTIONS"),
        ("DELETE", PREDICT, 405, "POST, OPTIONS"),
        ("GET", "/v1/flights/deployments/late/features", 405, "POST, OPTIONS"),
        ("POST", "/healthz", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/v2/models/late/infer", 405, "POST, OPTIONS"),
        ("POST", "/v2/models/late", 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", PREDICT, 204, "POST, OPTIONS"),
        ("HEAD", "/healthz", 200, None),
        ("HEAD", "/v2/models/flights.late", 200, None),
        ("GET", "/", 404, None),
        ("GET", "//", 404, None),
        ("GET", "/v2/models", 404, None),
        ("POST", "/v1/flights/deployments/late/predict/", 404, None),
        ("POST", "/v1/flights%2Fdeployments%2Flate%2Fpredict", 404, None),
        ("POST", "/v1/flights/deployments/late%2Fx/predict", 404, None),
        ("POST", "/v1/flights/deployments/%00/predict", 404, None),
        ("POST", "/v1/flights/deployments/%ff/predict", 404, None),
        ("POST", "/v1/flights/deployments/l%61te/predict", 422, None),
    ],
)
def test_paths_and_methods(gateway: GatewayProcess, method: str, path: str, status: int, allowed: str | None) -> None:
    answer = httpx.request(method, f"{gateway.url}{path}")
    assert answer.status_code == status
    assert answer.headers.get("allow") == allowed
    if method == "HEAD":
        assert answer.content == b""
        assert int(answer.headers["content-length"]) > 0


def test_a_question_to_the_gateway_as_a_whole(gateway: GatewayProcess) -> None:
    answer = raw(gateway, b"OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204 ")


def test_a_compressed_body_is_read_and_another_compression_is_told_apart(gateway: GatewayProcess) -> None:
    body = gzip.compress(b'{"rows": [{"x0": 1, "x1": 2, "x2": 3}]}')
    url = f"{gateway.url}{PREDICT}"
    assert httpx.post(url, content=body, headers={"content-encoding": "gzip"}).status_code == 200
    answer = httpx.post(url, content=body, headers={"content-encoding": "br"})
    assert (refused(answer)["status"], refused(answer)["field"]) == (415, "Content-Encoding")
    bomb = gzip.compress(b" " * 100_000_000)
    answer = httpx.post(url, content=bomb, headers={"content-encoding": "gzip"}, timeout=PATIENCE_S)
    assert refused(answer)["status"] == 413


def test_half_a_request_is_no_request(served: tuple[World, GatewayProcess]) -> None:
    world, gateway = served
    gateway.seal()
    before = world.chunks("predictions").height
    head = f"POST {PREDICT} HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b'{"rows": [{"x0": 1, "x1": 2, "x2": 3}]}'
    raw(gateway, head.encode() + b"%x\r\n" % len(body) + body)
    gateway.seal()
    assert world.chunks("predictions").height == before


def test_a_stranger_leaves_nothing_in_the_metrics(gateway: GatewayProcess) -> None:
    before = len(httpx.get(f"{gateway.url}/metrics").text)
    for number in range(50):
        name = f'x{number}"%7D 1%0Aevil_metric 1%0A'
        assert gateway.post(f"/v1/{name}/deployments/{name}/predict", {"rows": []}).status_code == 404
        assert gateway.post(f"/v1/{name}/datasets/{name}/push", {"rows": [{}]}).status_code in (401, 404)
        httpx.request(f"X{number}", f"{gateway.url}/healthz")
    text = httpx.get(f"{gateway.url}/metrics").text
    assert "evil_metric" not in text
    assert len(text) - before < 6_000  # at most a line for each route and status


def test_metrics_and_health(gateway: GatewayProcess) -> None:
    text = httpx.get(f"{gateway.url}/metrics").text
    assert 'loopwright_gateway_requests_total{route="predict",status="200",target="flights/late"}' in text
    assert "loopwright_gateway_batch_rows_bucket" in text
    assert httpx.get(f"{gateway.url}/healthz").json()["status"] == "ok"


def test_tokens_decide_who_may(world: World) -> None:
    world.declare()
    world.release(world.register(ConstantModel(0.5), number_columns(1)))
    tokens = {
        role: world.server.call("tokens.create", actor=f"person:{role}", role=role).secret
        for role in ("viewer", "editor")
    }
    world.project("other")
    world.declare("theirs", project="other")
    other = world.register(ConstantModel(0.5), number_columns(1), project="other")
    world.release(other, name="theirs", project="other")
    tokens["stranger"] = world.server.call("tokens.create", "other", actor="person:x", role="admin").secret
    grants = {"actor": "person:watcher", "role": "viewer", "every_project": True}
    tokens["watcher"] = world.server.call("tokens.create", SYSTEM, **grants).secret
    gateway = world.gateway(LOOPWRIGHT_AUTH="on")
    gateway.start()
    gateway.wait_for(lambda health: len(health["releases"]) == 2)

    def headers(who: str) -> dict[str, str]:
        secret = tokens.get(who, who)
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    def ask(who: str, path: str, document: Any) -> int:
        return gateway.post(path, document, headers=headers(who)).status_code

    def read(who: str, path: str) -> httpx.Response:
        return httpx.get(f"{gateway.url}{path}", headers=headers(who))

    rows, labels = {"rows": [{"x0": 1}]}, {"labels": [{"prediction_id": "pred_1", "label": 1}]}
    while ask("viewer", PREDICT, rows) == 401:
        pass
    asked = {who: ask(who, PREDICT, rows) for who in ("viewer", "editor", "stranger", "wrong", "", TOKEN)}
    assert asked == {"viewer": 200, "editor": 200, "stranger": 403, "wrong": 401, "": 401, TOKEN: 200}
    looked_up = "/v1/flights/deployments/late/features"
    asked = {who: ask(who, looked_up, rows) for who in ("viewer", "editor", "stranger", "wrong", "", TOKEN)}
    assert asked == {"viewer": 409, "editor": 409, "stranger": 403, "wrong": 401, "": 401, TOKEN: 409}
    path = "/v1/flights/deployments/late/labels"
    assert {who: ask(who, path, labels) for who in ("viewer", "editor")} == {"viewer": 403, "editor": 200}
    assert ask("editor", "/internal/seal", {}) == 403

    assert read("", "/healthz").json() == read("wrong", "/healthz").json() == {"status": "ok"}
    own = {"status": "ok", "releases": {"flights/late": 1}, "failures": {}, "troubles": []}
    assert read("viewer", "/healthz").json() == own
    everything = read("watcher", "/healthz").json()
    assert everything["releases"] == {"flights/late": 1, "other/theirs": 1}
    assert (everything["sealing"], everything["kept_aside"]) == ("", [])
    may_read = {who: read(who, "/metrics").status_code for who in ("watcher", TOKEN, "viewer", "stranger", "wrong", "")}
    assert may_read == {"watcher": 200, TOKEN: 200, "viewer": 403, "stranger": 403, "wrong": 401, "": 401}
    names = ("late", "theirs", "nothing", "other.theirs")
    asked = {who: [read(who, f"/v2/models/{name}").status_code for name in names] for who in ("viewer", "stranger", "")}
    assert asked == {"viewer": [200, 404, 404, 404], "stranger": [404, 200, 404, 200], "": [401, 401, 401, 401]}
    assert "theirs" not in read("viewer", "/v2/models/their").text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, {"rows": [x_row(3), x_row(3, 1.0)]}),
        (
            "/v2/models/flights.late/infer",
            {"inputs": [{"name": "all", "shape": [1, 3], "datatype": "FP64", "data": [1.0, 2.0, 3.0]}]},
        ),
        ("/v1/flights/deployments/scorecard/predictions", {"predictions": [{"id": "once-1", "score": 0.5}]}),
        ("/v1/flights/deployments/scorecard/labels", {"labels": [{"prediction_id": "once-1", "label": 1}]}),
    ],
)
def test_the_same_key_and_body_is_answered_once(
    served: tuple[World, GatewayProcess], path: str, body: dict[str, Any]
) -> None:
    world, gateway = served
    kind = path.rpartition("/")[2]
    stream = ("labels" if kind == "labels" else "predictions", "scorecard" if "scorecard" in path else "late")
    gateway.seal()
    before = world.chunks(*stream).height
    headers = {"Idempotency-Key": f"key-{kind}"}
    answers = [gateway.post(path, body, headers=headers) for _ in range(3)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    other = gateway.post(path, {**body, "id": "another"}, headers=headers)
    assert other.status_code == (400 if path.startswith("/v2") else 409)
    assert "belongs to another request" in other.text
    assert gateway.post(path, body, headers={"Idempotency-Key": ""}).status_code in (400, 422)
    gateway.seal()
    assert world.chunks(*stream).height - before == len(body.get("rows", [1]))
