"""Reaching a running project: whose, where, and how many rows at a time."""

from pathlib import Path
from typing import Any

import pytest

import loopwright as lw
from loopwright.kernel.errors import InvalidInput, TooLarge, Unavailable


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path / "none"))
    for name in ("LOOPWRIGHT_URL", "LOOPWRIGHT_GATEWAY_URL", "LOOPWRIGHT_PROJECT", "LOOPWRIGHT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_a_state_folder_beside_that_has_a_server_is_named(tmp_path: Path) -> None:
    (tmp_path / "none-demo").mkdir()
    (tmp_path / "none-demo" / "server.json").write_text("{}")
    with pytest.raises(Unavailable, match=r"LOOPWRIGHT_STATE=none-demo"):
        lw.connect(project="trips")


def test_a_project_and_a_server_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="which project"):
        lw.connect()
    with pytest.raises(Unavailable, match=r"no Loopwright server is running here.*loopwright up"):
        lw.connect(project="trips")
    monkeypatch.setenv("LOOPWRIGHT_PROJECT", "trips")
    monkeypatch.setenv("LOOPWRIGHT_URL", "http://127.0.0.1:9/")
    found = lw.connect()
    assert (found.project, found.caller.url) == ("trips", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="cannot reach"):
        found.call("audit.list")


def test_rows_go_in_batches_and_smaller_ones_where_a_body_is_too_large(gateway: Any) -> None:
    deployment = lw.connect(gateway.url, project="trips").deployment("near")
    rows = [{"id": str(place), "score": 0.5} for place in range(12_000)]
    assert deployment.log(rows) == 12_000
    sent = [row["id"] for _, body in gateway.bodies for row in body["predictions"]]
    assert sent == [row["id"] for row in rows]
    assert {path for path, _ in gateway.bodies} == {"/v1/trips/deployments/near/predictions"}
    assert max(len(body["predictions"]) for _, body in gateway.bodies) <= 3_000
    assert deployment.label([]) == 0


def test_a_row_that_is_too_large_alone_is_told(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.client.conftest.MOST_ROWS", 0)
    with pytest.raises(TooLarge):
        lw.connect(gateway.url, project="trips").deployment("near").log([{"id": "1"}])


def test_names_go_over_the_wire_quoted() -> None:
    remote = lw.connect("http://127.0.0.1:9/", project="trips", gateway_url="http://127.0.0.1:9")
    for name in ("späte", "two words", "a/b"):
        with pytest.raises(Unavailable, match=r"cannot reach http://127.0.0.1:9/v1/trips/deployments/[\w%]+/predict"):
            remote.deployment(name).predict([{"x": 1}])
        with pytest.raises(Unavailable, match=r"cannot reach http://127.0.0.1:9/v1/trips/datasets/[\w%]+/push"):
            remote.dataset(name).push([{"x": 1}])
