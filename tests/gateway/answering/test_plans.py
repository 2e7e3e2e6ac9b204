"""Requests whose features are looked up: pushes are seen at once, the user's function runs, reasons are told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.data import DatasetSpec, SourceSpec
from loopwright.features.online import OnlineStores
from loopwright.kernel.clock import HOUR_US
from loopwright.store.streams import OTHER_ROW_FAILED
from tests.gateway.answering.conftest import INPUTS, NOON, PREDICT, flight, landed, plan, started
from tests.gateway.conftest import GatewayProcess, World, running_world
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, GatewayProcess]]:
    """A gateway for requests that change nothing which another would see, but for the log."""
    with running_world(tmp_path_factory.mktemp("kept")) as world:
        yield world, started(plan(world).gateway())


def rows_of(world: World) -> dict[str, Any]:
    """Return the logged predictions by id."""
    return {row["prediction_id"]: row for row in world.chunks("predictions", project="past").to_dicts()}


def test_pushes_become_features_of_the_next_request(world: World, gateway: GatewayProcess) -> None:
    before = gateway.post(PREDICT, {"rows": [flight()]}).json()["predictions"][0]
    assert before["missing"] == {"temp": "NOT_FOUND", "carrier_late_share_3h": "NOT_FOUND"}
    pushed = [landed("a", 30.0), landed("b", 0.0), landed("c", 90.0, NOON + 1)]
    assert gateway.post("/v1/past/datasets/flights/push", {"rows": pushed}).json() == {"accepted": 3}
    observed = [{"origin": "JFK", "observed_at": "2013-03-01T11:00:00Z", "temp": 4.5}]
    assert gateway.post("/v1/past/datasets/weather/push", {"rows": observed}).json() == {"accepted": 1}
    rows = [flight(), flight(carrier="ZZ", origin=None, scheduled_at=NOON + 4 * HOUR_US, flight_id="ZZ1")]
    answer = gateway.post(PREDICT, {"rows": rows}).json()["predictions"]
    assert "missing" not in answer[0]
    itself = gateway.post(PREDICT, {"rows": [flight(flight_id="a"), flight(flight_id="zz")]}).json()["predictions"]
    assert answer[1]["missing"]["carrier"] == "UNKNOWN_CATEGORY"
    assert answer[1]["missing"]["temp"] == "NOT_FOUND"
    gateway.seal()
    logged = rows_of(world)
    first, second = (logged[one["prediction_id"]] for one in answer)
    counted = [logged[one["prediction_id"]]["f.carrier_landed_3h"] for one in itself]
    assert counted == [1.0, 2.0], "a request does not count itself"
    assert [first[f"f.{column.name}"] for column in INPUTS] == ["UA", 12.0, 1.0, 4.5, 0.5, 2.0]
    assert (first["event_at"], first["row_key"]) == (NOON, "UA1")
    assert (second["f.carrier"], second["f.temp"]) == ("ZZ", None)
    kept = world.chunks("pushes", "flights", "past").sort("flight_id")
    assert kept["flight_id"].to_list() == ["a", "b", "c"]
    assert str(kept["landed_at"].dtype) == "Datetime(time_unit='us', time_zone='UTC')"
    assert kept["event_at"][0] == NOON - 2 * HOUR_US


def test_gateways_of_two_machines_share_what_is_pushed_through_a_redis(
    planned: World, empty_redis: str, tmp_path: Path
) -> None:
    gateways = []
    for name in ("one", "two"):
        state = tmp_path / name
        state.mkdir()
        blobs = {"LOOPWRIGHT_BLOBS": str(planned.state / "blobs"), "LOOPWRIGHT_ONLINE": empty_redis}
        gateways.append(started(planned.gateway(state, **blobs)))
    first, second = gateways
    pushed = [landed("a", 30.0), landed("b", 0.0)]
    assert first.post("/v1/past/datasets/flights/push", {"rows": pushed}).json() == {"accepted": 2}
    observed = [{"origin": "JFK", "observed_at": "2013-03-01T11:00:00Z", "temp": 4.5}]
    assert second.post("/v1/past/datasets/weather/push", {"rows": observed}).json() == {"accepted": 1}
    for gateway in gateways:
        (answer,) = gateway.post(PREDICT, {"rows": [flight()]}).json()["predictions"]
        assert "missing" not in answer
    assert OnlineStores(planned.state, empty_redis).projects() == {"past"}
    for gateway in gateways:
        assert "sesame" not in gateway.log
        assert not (gateway.state / "online").exists()


def test_what_is_personal_is_in_no_log(world: World, gateway: GatewayProcess) -> None:
    world.declare(project="past", personal=["flight_id", "carrier", "temp"])
    for name, personal in (("flights", ["flight_id", "carrier"]), ("weather", ["temp"])):
        declared = world.server.call("data.get", "past", dataset=name).spec
        changed = msgspec.structs.replace(declared, personal=personal)
        world.server.call("data.declare", "past", spec=msgspec.to_builtins(changed))
    gateway.wait_for(lambda health: health["releases"] == {"past/late": 2})
    (known,) = world.state.glob("*/known.json")
    wait_until(lambda: b"past/weather" in known.read_bytes())
    named = {**landed("a", 30.0), "passenger": "Ada"}
    assert gateway.post("/v1/past/datasets/flights/push", {"rows": [named]}).json() == {"accepted": 1}
    observed = [{"origin": "JFK", "observed_at": NOON - HOUR_US, "temp": 4.5, "wind": 3.0}]
    assert gateway.post("/v1/past/datasets/weather/push", {"rows": observed}).status_code == 200
    spec = DatasetSpec("crew", SourceSpec("push"), ["id"], personal=["name"])
    world.server.call("data.declare", "past", spec=msgspec.to_builtins(spec))
    assert gateway.post("/v1/past/datasets/crew/push", {"rows": [{"id": 1, "name": "Ada"}]}).status_code == 200
    answer = gateway.post(PREDICT, {"rows": [flight()]}).json()["predictions"][0]
    assert "missing" not in answer
    gateway.seal()
    (logged,) = world.chunks("predictions", project="past").to_dicts()
    assert logged["row_key"] is None
    assert {name: value for name, value in logged.items() if name.startswith("f.")} == {
        "f.hour": 12.0,
        "f.far": 1.0,
        "f.carrier_late_share_3h": 1.0,
        "f.carrier_landed_3h": 1.0,
    }
    own = {"push_id", "event_at", "recorded_at"}
    # A transform may make what is personal of any column that it takes: those go too.
    assert set(world.chunks("pushes", "flights", "past").columns) - own == {"scheduled_at"}
    assert set(world.chunks("pushes", "weather", "past").columns) - own == {"origin", "observed_at", "wind"}
    assert set(world.chunks("pushes", "crew", "past").columns) - own == {"id"}


def test_a_dataset_that_no_plan_reads_is_pushed_as_it_is_declared_now(world: World, gateway: GatewayProcess) -> None:
    path = "/v1/past/datasets/planes/push"

    def declare(key: list[str]) -> None:
        spec = DatasetSpec("planes", SourceSpec("push"), key)
        world.server.call("data.declare", "past", spec=msgspec.to_builtins(spec))

    declare(["tailnum"])
    assert gateway.post(path, {"rows": [{"tailnum": "N1"}]}).status_code == 200
    declare(["tailnum", "year"])
    wait_until(lambda: gateway.post(path, {"rows": [{"tailnum": "N1"}]}).status_code != 200)
    answer = gateway.post(path, {"rows": [{"tailnum": "N1"}]})
    assert answer.json()["error"]["field"] == "rows[0].year"
    world.server.stop()
    assert gateway.post(path, {"rows": [{"tailnum": "N1", "year": 1}]}).status_code == 200


@pytest.mark.parametrize(
    ("path", "rows", "field"),
    [
        (PREDICT, [{"carrier": "UA", "scheduled_at": NOON, "distance": 1}], "rows[0].origin"),
        (PREDICT, [flight(), flight(scheduled_at="noon")], "rows[1].scheduled_at"),
        (
            "/v1/past/datasets/flights/push",
            [landed("a", 1.0), {**landed("b", 1.0), "flight_id": None}],
            "rows[1].flight_id",
        ),
        (
            "/v1/past/datasets/flights/push",
            [landed("a", 1.0), {**landed("b", 1.0), "landed_at": "x"}],
            "rows[1].landed_at",
        ),
    ],
)
def test_bad_rows_are_named(kept: tuple[World, GatewayProcess], path: str, rows: list[Any], field: str) -> None:
    answer = kept[1].post(path, {"rows": rows})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["field"] == field


def test_user_code_sees_no_secret(kept: tuple[World, GatewayProcess]) -> None:
    answer = kept[1].post(PREDICT, {"rows": [flight(distance=30_000)]})
    assert "tokens seen: []" in answer.text


def test_user_code_that_raises_is_told_and_logged(kept: tuple[World, GatewayProcess]) -> None:
    world, gateway = kept
    answer = gateway.post(PREDICT, {"rows": [flight(distance=-1)]})
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "model_failed"
    assert "negative distance" in error["message"]
    gateway.seal()
    [prediction_id] = error["details"]["prediction_ids"]
    row = rows_of(world)[prediction_id]
    assert "negative distance" in row["error"]
    assert row["score"] is None
    wrong = gateway.post(PREDICT, {"rows": [flight(distance=0)]})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (500, "model_failed")
    assert "another number of rows" in wrong.json()["error"]["message"]
    lost = gateway.post("/v1/past/datasets/flights/push", {"rows": [{**landed("a", 1.0), "arr_delay": "x"}]})
    assert lost.status_code in (409, 422), lost.text
    unknown = gateway.post("/v1/past/datasets/planes/push", {"rows": [{"a": 1}]})
    assert unknown.status_code == 404


@pytest.mark.parametrize("distance", [-1, 0])
def test_a_row_that_user_code_raises_on_is_named_and_the_only_one_to_blame(
    kept: tuple[World, GatewayProcess], distance: int
) -> None:
    world, gateway = kept
    rows = [flight(distance=1400), flight(distance=distance), flight(carrier="AA", distance=200)]

    def named() -> dict[str, Any] | None:
        """Ask until there was time enough to find the row."""
        error: dict[str, Any] = gateway.post(PREDICT, {"rows": rows}).json()["error"]
        return error if error.get("field") == "rows[1]" else None

    error = wait_until(named)
    assert error is not None
    assert (error["code"], error["details"]["rows"]) == ("model_failed", [1])
    gateway.seal()
    logged = rows_of(world)
    first, wrong, last = (logged[name] for name in error["details"]["prediction_ids"])
    assert error["message"].endswith(wrong["error"])
    assert {first["error"], last["error"]} == {OTHER_ROW_FAILED}
    assert [row["f.carrier"] for row in (first, wrong, last)] == ["UA", None, "AA"]
    assert [row["f.far"] for row in (first, wrong, last)] == [1.0, None, 0.0]
    assert {row["score"] for row in (first, wrong, last)} == {None}
