"""Features looked up by key: to the bit what a prediction is given, with ages and reasons; nothing is logged."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

import loopwright as lw
from loopwright.kernel.clock import HOUR_US, format_moment
from tests.cli.conftest import loopwright
from tests.gateway.answering.conftest import INPUTS, NOON, PREDICT, flight, landed, started
from tests.gateway.conftest import GatewayProcess, World

pytestmark = pytest.mark.slow
FEATURES = "/v1/past/deployments/late/features"
NAMES = [column.name for column in INPUTS]


def fill(gateway: GatewayProcess) -> None:
    pushed = [landed("a", 30.0, NOON - HOUR_US), landed("b", 0.1), landed("c", 90.0, NOON + 1)]
    assert gateway.post("/v1/past/datasets/flights/push", {"rows": pushed}).status_code == 200
    observed = [
        {"origin": "JFK", "observed_at": "2013-03-01T11:00:00Z", "temp": 0.1 + 0.2},
        {"origin": "LGA", "observed_at": "2013-03-01T08:00:00Z", "temp": 4.5},
        {"origin": "EWR", "observed_at": "2013-03-01T11:30:00Z", "temp": None},
    ]
    assert gateway.post("/v1/past/datasets/weather/push", {"rows": observed}).status_code == 200


def rows_of_both() -> list[dict[str, Any]]:
    return [
        flight(),
        flight(origin="LGA"),
        flight(origin="EWR", flight_id="a"),
        flight(origin=None, carrier="ZZ"),
        flight(origin="SFO", carrier=None, scheduled_at="2013-03-01T14:30:00Z"),
    ]


def check_against_predictions(world: World, gateway: GatewayProcess) -> None:
    """Look the same rows up and predict them, and compare what is told with what the predictions had."""
    rows = rows_of_both()
    looked_up = gateway.post(FEATURES, {"rows": rows}).json()
    predictions = gateway.post(PREDICT, {"rows": rows}).json()["predictions"]
    gateway.seal()
    logged = {row["prediction_id"]: row for row in world.chunks("predictions", project="past").to_dicts()}
    assert len(logged) == len(rows), "a look-up is no prediction"
    for found, prediction in zip(looked_up["rows"], predictions, strict=True):
        served = logged[prediction["prediction_id"]]
        assert found["values"] == {name: served[f"f.{name}"] for name in NAMES}
        assert found["missing"] == prediction.get("missing", {})
    reasons = [found["missing"] for found in looked_up["rows"]]
    assert [reason.get("temp") for reason in reasons] == [None, "EXPIRED", "NULL", "NOT_FOUND", "NOT_FOUND"]
    ages = [found["ages_s"] for found in looked_up["rows"]]
    assert [age["temp"] for age in ages] == [3600.0, 4 * 3600.0, 1800.0, None, None]
    assert ages[0]["carrier_landed_3h"] == 2 * 3600.0, "the newest row that counts was to leave two hours before"
    assert ages[0]["hour"] is None, "what a function computes has no row behind it"
    assert looked_up["left_out"] == {}


def test_a_lookup_finds_to_the_bit_what_a_prediction_is_given(world: World, gateway: GatewayProcess) -> None:
    fill(gateway)
    check_against_predictions(world, gateway)


def test_and_so_it_does_in_a_redis(planned: World, empty_redis: str, tmp_path: Path) -> None:
    state = tmp_path / "own"
    state.mkdir()
    blobs = {"LOOPWRIGHT_BLOBS": str(planned.state / "blobs"), "LOOPWRIGHT_ONLINE": empty_redis}
    gateway = started(planned.gateway(state, **blobs))
    fill(gateway)
    check_against_predictions(planned, gateway)


def test_what_no_row_names_is_left_out_and_said(gateway: GatewayProcess) -> None:
    fill(gateway)
    answer = gateway.post(FEATURES, {"rows": [{"origin": "JFK"}], "at": "2013-03-01T13:00:00Z"}).json()
    assert answer["rows"] == [
        {"at": "2013-03-01T13:00:00Z", "values": {"temp": 0.1 + 0.2}, "ages_s": {"temp": 7200.0}, "missing": {}}
    ]
    assert answer["left_out"]["carrier_late_share_3h"] == "no row carries carrier"
    assert answer["left_out"]["far"] == "no row carries scheduled_at, carrier, distance"
    assert (answer["deployment"], answer["service"], answer["model_version"]) == ("late", "late", 1)
    # A row's own moment counts before the one of the body.
    rows = [{"carrier": "UA", "scheduled_at": NOON - HOUR_US}]
    (found,) = gateway.post(FEATURES, {"rows": rows, "at": NOON}).json()["rows"]
    assert found["at"] == format_moment(NOON - HOUR_US)
    assert found["values"]["carrier_landed_3h"] == 1.0


def test_a_program_and_a_person_look_up_alike(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(gateway)
    monkeypatch.setenv("LOOPWRIGHT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LOOPWRIGHT_GATEWAY_URL", gateway.url)
    deployment = lw.connect(project="past").deployment("late")
    frame = pl.DataFrame({"origin": ["JFK", "LGA"]})
    near, old = deployment.features(frame, at=datetime(2013, 3, 1, 13, tzinfo=UTC))
    assert (near.values, near.ages_s, near.missing) == ({"temp": 0.1 + 0.2}, {"temp": 7200.0}, {})
    assert (old.values, old.missing) == ({"temp": None}, {"temp": "EXPIRED"})
    assert old.left_out["carrier_landed_3h"] == "no row carries carrier"
    arguments = ("features", "late", "origin=LGA", "carrier=UA", "--at", "2013-03-01T12:10:00Z", "-p", "past")
    assert loopwright(*arguments).splitlines() == [
        "late at 2013-03-01T12:10:00Z",
        "feature                value  age         missing",
        "temp                       –  4 h 10 min  EXPIRED: older than its view lets a value be",
        "carrier_late_share_3h    0.5  2 h 10 min  –",
        "carrier_landed_3h          2  2 h 10 min  –",
        "left out: carrier, hour, far (no row carries scheduled_at, distance)",
    ]
    assert json.loads(loopwright(*arguments, "--json"))["ages_s"]["temp"] == 4 * 3600.0 + 600.0


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["field"], error["message"]


def test_what_cannot_be_looked_up_is_named(gateway: GatewayProcess) -> None:
    asked: list[tuple[dict[str, Any], int, str]] = [
        ({"rows": [{"orign": "JFK"}], "at": NOON}, 422, "rows[0]"),
        ({"rows": [{"origin": "JFK"}]}, 422, "rows[0].scheduled_at"),
        ({"rows": [{"origin": "JFK"}, {"carrier": "UA"}], "at": NOON}, 422, "rows[0].carrier"),
        ({"rows": [{"origin": 1.5}], "at": NOON}, 422, "rows.origin"),
        ({"rows": [{"origin": "JFK"}], "at": "2013-03-01"}, 422, "at"),
        ({"rows": [{"origin": "JFK"}], "at": 12}, 422, "at"),
        ({"rows": [], "at": NOON}, 422, "rows"),
        ({"rows": [{"origin": "JFK"}] * 10_001, "at": NOON}, 413, "rows"),
        ({"rows": 1}, 422, "body"),
        ({"rows": [flight(distance=-1)]}, 500, "request.asked"),
    ]
    found = [refused(gateway.post(FEATURES, body)) for body, _, _ in asked]
    assert [one[:2] for one in found] == [(status, field) for _, status, field in asked], found
    assert gateway.post(FEATURES, {"rows": [flight()]}).status_code == 200
