"""Mutated requests at every door of the gateway: each is answered, none with 5xx, and nothing wrong is taken."""

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from loopwright.data import DatasetSpec, SourceSpec
from loopwright.features import ColumnViewSpec, LabelSpec, ServiceSpec
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import LoopwrightError
from loopwright.registry import InputColumn
from loopwright.registry.flavours.constant import ConstantModel
from tests.fuzz.mutations import SEEDS, as_bytes, change_bytes, change_value, seeds
from tests.gateway.conftest import GatewayProcess, World, booster, number_columns, x_row
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
ADDED = ("x", "at", "event_at", "row_key", "label", "", "score", "value")
"""Names of fields that a mutation may add."""
DOORS: dict[str, tuple[str, dict[str, Any]]] = {
    "predict": ("/v1/flights/deployments/late/predict", {"rows": [{**x_row(3), "row_key": "UA1"}, x_row(3, -2.5)]}),
    "category": ("/v1/flights/deployments/kinds/predict", {"rows": [{"carrier": "AA", "is_wet": True}]}),
    "looked_up": ("/v1/flights/deployments/recent/predict", {"rows": [{"id": "a", "at": "2026-03-01T13:00:00Z"}]}),
    "features": (
        "/v1/flights/deployments/recent/features",
        {"rows": [{"id": "a"}, {"id": None}], "at": "2026-03-01T13:00:00Z"},
    ),
    "v2": (
        "/v2/models/late/infer",
        {
            "id": "7",
            "inputs": [
                {"name": f"x{place}", "shape": [2, 1], "datatype": "FP64", "data": [1.0, 2.5]} for place in range(3)
            ],
            "outputs": [{"name": "score"}],
        },
    ),
    "labels": (
        "/v1/flights/deployments/scorecard/labels",
        {"labels": [{"prediction_id": "p1", "label": 1, "event_at": "2026-03-01T12:00:00Z"}]},
    ),
    "predictions": (
        "/v1/flights/deployments/scorecard/predictions",
        {"predictions": [{"id": "p1", "score": 0.5, "row_key": "a", "features": {"x": 1.5, "c": "AA"}}]},
    ),
    "pushes": (
        "/v1/flights/datasets/weather/push",
        {"rows": [{"id": "a", "at": "2026-03-01T12:00:00Z", "value": 1.5, "wind": "N"}]},
    ),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    world = World(Path(tmp_path_factory.mktemp("fuzz")))
    world.server.start()
    world.project()
    world.declare()
    world.release(world.register(booster(3), number_columns(3)))
    columns = [InputColumn("carrier", "category", ["AA", "UA"]), InputColumn("is_wet", "boolean")]
    world.declare("kinds", model="kinds", task="multiclass")
    world.release(world.register(ConstantModel([0.2, 0.8]), columns, "multiclass", name="kinds"), name="kinds")
    world.declare("scorecard", model="elsewhere", is_external=True, task="binary")
    for name in ("weather", "outcomes"):
        world.server.call("data.declare", spec=msgspec.to_builtins(DatasetSpec(name, SourceSpec("push"), ["id"], "at")))
    view = ColumnViewSpec("newest", "weather", "id", ["value"])
    service = ServiceSpec("recent", [], ["newest"], LabelSpec("outcomes", "value"), "binary")
    world.server.call("features.declare_view", spec=msgspec.to_builtins(view))
    world.server.call("features.declare_service", spec=msgspec.to_builtins(service))
    plan = world.server.call("features.freeze_plan", service="recent")
    named = {"name": "recent", "plan_digest": plan, "service": "recent"}
    world.declare("recent", model="recent")
    world.release(world.register(ConstantModel(0.3), [InputColumn("value", "number")], **named), name="recent")
    made = world.gateway()
    made.start()
    made.wait_for(lambda health: len(health["releases"]) == 3)
    yield made
    made.stop()
    world.server.stop()
    world.server.database.close()


def mutated(seed: int, document: dict[str, Any]) -> bytes:
    """Return a body drawn from a seed."""
    random_ = random.Random(seed)
    made = copy.deepcopy(document)
    for _ in range(random_.choice([0, 1, 1, 1, 2, 3])):
        change_value(random_, made, ADDED)
    body = as_bytes(made)
    return change_bytes(random_, body) if random_.random() < 0.3 else body


def is_number(value: Any) -> bool:
    """Say whether float64 holds a number exactly."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value)) and (isinstance(value, float) or int(float(value)) == value)
    except OverflowError:
        return False


def is_moment(value: Any) -> bool:
    """Say whether a value names a moment that can be meant today."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return False
    try:
        at_us = parse_moment(value) if isinstance(value, str) else value
    except (LoopwrightError, OverflowError):
        return False
    has_time = isinstance(value, int) or len(value) > 10
    return (
        has_time
        and parse_moment("1900-01-01T00:00:00Z") <= at_us < parse_moment("2100-01-01T00:00:00Z")
        and abs(at_us) >= 10**14
    )


def is_id(value: Any) -> bool:
    return (isinstance(value, str) and 0 < len(value) <= 200 and "\0" not in value) or type(value) is int


def fits_predict(document: Any) -> bool:
    """Say whether a model's columns are numbers; those beyond 2^53 are rounded as training rounds them."""
    values = [row[f"x{place}"] for row in document["rows"] for place in range(3)]
    return all(value is None or (not isinstance(value, bool) and math.isfinite(float(value + 0))) for value in values)


def fits_category(document: Any) -> bool:
    kinds = [(row["carrier"], row["is_wet"]) for row in document["rows"]]
    return all(isinstance(text, str | int | None) and flag in (None, True, False) for text, flag in kinds)


def fits_looked_up(document: Any) -> bool:
    return all(not isinstance(row["id"], list | dict | float) for row in document["rows"])


def fits_features(document: Any) -> bool:
    return fits_looked_up(document) and (document.get("at") is None or is_moment(document["at"]))


def fits_v2(document: Any) -> bool:
    values = [value for tensor in document["inputs"] for value in tensor["data"]]
    flat = [inner for value in values for inner in (value if isinstance(value, list) else [value])]
    return all(value is None or isinstance(value, list) or type(value) in (int, float) for value in flat)


def is_row_key(value: Any) -> bool:
    return value not in (None, "") and not isinstance(value, list | dict)


def fits_labels(document: Any) -> bool:
    rows = document.get("labels") or document.get("rows")
    are_keyed = all(row.get("prediction_id") is None for row in rows)
    return all(
        (is_row_key(row["row_key"]) if are_keyed else is_id(row["prediction_id"]))
        and (row.get("event_at") is None or is_moment(row["event_at"]))
        and row.get("label", row.get("label_text")) in (0, 1, True, False)
        for row in rows
    )


def fits_predictions(document: Any) -> bool:
    rows = document.get("predictions") or document.get("rows")
    return all(
        is_id(row["id"])
        and (row.get("event_at") is None or is_moment(row["event_at"]))
        and (is_number(row.get("score")) or (row.get("score") is None and row.get("answer") is not None))
        and not isinstance(row.get("row_key"), list | dict)
        for row in rows
    )


def fits_pushes(document: Any) -> bool:
    return all(
        row["id"] is not None
        and "\0" not in str(row["id"])
        and is_moment(row["at"])
        and not any(isinstance(value, list | dict) for value in row.values())
        for row in document["rows"]
    )


FITS: dict[str, Callable[[Any], bool]] = {name: globals()[f"fits_{name}"] for name in DOORS}


def is_rightly_taken(door: str, body: bytes) -> bool:
    """Say whether a body that was taken could be."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), "a key stands twice"
        return dict(pairs)

    try:
        # What nobody reads is not looked at either, so bytes that are no text may stand there.
        document = json.loads(body.decode(errors="replace"), object_pairs_hook=once)
        return FITS[door](document)
    except AssertionError:
        return True  # which of the two counts is not ours to say
    except (KeyError, TypeError, AttributeError, ValueError):
        return False


def what_is_wrong(door: str, body: bytes, answer: httpx.Response) -> str:
    """Return why an answer is none that a caller may get; empty where it is fine."""
    if answer.status_code >= 500:
        return f"{answer.status_code} {answer.text[:300]}"
    try:
        answer.json()
    except ValueError:
        return f"no JSON: {answer.content[:200]!r}"
    if "Traceback" in answer.text:
        return "tells its inside"
    if answer.status_code == 200 and not is_rightly_taken(door, body):
        return f"taken: {answer.text[:200]}"
    return ""


@pytest.mark.parametrize("door", DOORS)
def test_no_body_is_too_much(gateway: GatewayProcess, door: str) -> None:
    path, document = DOORS[door]
    wrong: list[tuple[int, str, bytes]] = []
    statuses: set[int] = set()
    with httpx.Client(base_url=gateway.url, timeout=PATIENCE_S) as client:
        for seed in seeds():
            body = mutated(seed, document)
            answer = client.post(path, content=body)
            statuses.add(answer.status_code)
            if why := what_is_wrong(door, body, answer):
                wrong.append((seed, why, body[:300]))
    assert wrong == [], f"{len(wrong)} of {SEEDS}"
    assert SEEDS < 100 or {200, 422} & statuses or {200, 400} & statuses
    assert gateway.process is not None
    assert gateway.process.poll() is None


PIECES = [
    "v1",
    "v2",
    "flights",
    "deployments",
    "late",
    "predict",
    "features",
    "models",
    "infer",
    "versions",
    "1",
    "datasets",
    "push",
]
PIECES += [
    "%2F",
    "%00",
    "%ff",
    "..",
    ".",
    "",
    "*",
    "healthz",
    "metrics",
    "ready",
    "health",
    "a" * 3000,
    "%F0%9F%98%80",
    "internal",
    "seal",
]
HEADERS: list[dict[str, Any]] = [
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "br"},
    {"Idempotency-Key": "x" * 400},
    {"Idempotency-Key": b"\xff"},
    {"Authorization": "Bearer"},
    {"Authorization": "Basic eDp5"},
    {"Origin": "https://elsewhere.example"},
    {"Host": "elsewhere.example"},
    {"Content-Type": "text/html"},
    {},
]


def test_no_path_method_or_header_is_too_much(gateway: GatewayProcess) -> None:
    wrong: list[tuple[int, str]] = []
    with httpx.Client(base_url=gateway.url, timeout=PATIENCE_S) as client:
        for seed in seeds():
            random_ = random.Random(seed)
            path = "/" + "/".join(random_.choice(PIECES) for _ in range(random_.randrange(7)))
            if random_.random() < 0.4:
                path = random_.choice([path for path, _ in DOORS.values()])
            method = random_.choice(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "BREW"])
            headers = random_.choice(HEADERS)
            answer = client.request(method, path, headers=headers, content=random_.choice([b"", b"{}", b"\xff"]))
            if answer.status_code >= 500:
                wrong.append((seed, f"{method} {path[:100]} {headers}: {answer.status_code} {answer.text[:200]}"))
    assert wrong == [], f"{len(wrong)} of {SEEDS}"
