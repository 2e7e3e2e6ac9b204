"""Readiness is honest, and what needs a person reaches the server."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from loopwright.data import DatasetSpec, SourceSpec
from loopwright.features import ColumnViewSpec, LabelSpec, ServiceSpec, online
from loopwright.gateway.http import Gateway
from loopwright.gateway.log.segments import read_segment
from loopwright.gateway.log.spool import Spool
from loopwright.gateway.releases.faults import Fault
from loopwright.gateway.releases.known import Known
from loopwright.gateway.signs import disk_signs, spool_signs
from loopwright.gateway.troubles import Sign, Troubles
from loopwright.governance import EVERY_PROJECT
from loopwright.governance.arguments import check_content
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import to_json
from loopwright.registry import InputColumn
from loopwright.registry.flavours.constant import ConstantModel
from loopwright.wire.addresses import Addresses
from loopwright.wire.caller import VerbCaller
from tests.gateway.asking import ask, served
from tests.gateway.conftest import TOKEN, GatewayProcess, World
from tests.gateway.read_only import read_only
from tests.waiting import PATIENCE_S, wait_until

EMPTY = Sign("store", "the view recent holds no rows", "flights", "late", is_in_the_way=True)


def test_a_trouble_is_told_in_what_can_be_stored() -> None:
    """The signs of a gateway are refused or taken as a whole: a lease would end over one letter."""
    troubles = Troubles(FixedClock(10))
    troubles.watch(lambda: [Sign("stranger", "caf\udce9\0" + "x" * 300_000)])
    (trouble,) = troubles.look()
    check_content("troubles", [trouble.message])
    assert trouble.message.startswith("caf\\udce9\\x00xx")
    assert troubles.look()[0].since == 10


def test_a_trouble_lasts_since_it_was_first_seen() -> None:
    clock = FixedClock(10)
    troubles, signs = Troubles(clock), [EMPTY]
    troubles.watch(lambda: signs)
    assert [trouble.since for trouble in troubles.look()] == [10]
    clock.at_us = 20
    signs.append(Sign("disk", "the disk is full", is_in_the_way=True))
    assert [(trouble.kind, trouble.since) for trouble in troubles.look()] == [("store", 10), ("disk", 20)]
    signs.clear()
    assert troubles.look() == []
    signs.append(EMPTY)
    assert [trouble.since for trouble in troubles.look()] == [20]


def test_one_place_that_cannot_be_looked_at_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterator[Sign]:
        raise OSError("no such device")

    troubles = Troubles(FixedClock(10))
    troubles.watch(broken, lambda: [EMPTY])
    assert [trouble.kind for trouble in troubles.look()] == ["store"]
    with caplog.at_level("ERROR"):
        troubles.look()
    assert len([record for record in caplog.records if "looked for" in record.getMessage()]) == 1  # told once


def test_a_caller_is_told_of_their_own_project_and_a_stranger_of_no_name() -> None:
    troubles = Troubles(FixedClock(10))
    troubles.watch(lambda: [EMPTY, Sign("child", "other/eta keeps ending", "other", "eta")])
    troubles.look()
    assert troubles.hindering("flights") == troubles.hindering(EVERY_PROJECT) == [EMPTY.message]
    assert troubles.hindering("other") == []
    assert troubles.hindering("flights", "another") == []
    assert troubles.hindering("other", "eta") == ["other/eta keeps ending"]
    [general] = troubles.hindering("")
    assert "recent" not in general
    assert troubles.counts() == {"child": 1, "disk": 0, "sealing": 0, "spool": 0, "store": 1, "stranger": 0, "topic": 0}


def test_a_full_disk_is_seen_before_a_row_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert [sign for sign in disk_signs(spool) if sign.is_in_the_way] == []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        [sign] = disk_signs(spool)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sign.is_in_the_way
    assert "disk is full" in sign.message
    assert [sign for sign in disk_signs(spool) if sign.is_in_the_way] == []
    spool.close()


class IdleSealer:
    """Seals well."""

    fails_for_s, failure = 0.0, ""


def test_strangers_in_the_spool_are_told_and_stop_nothing(tmp_path: Path) -> None:
    stream = tmp_path / "flights" / "labels" / "late"
    stream.mkdir(parents=True)
    for path in ("README", "flights/notes.txt", "flights/labels/.DS_Store", "flights/labels/late/copy of 1.log"):
        (tmp_path / path).write_text("hello")
    (stream / "000000000009.log").mkdir()
    (tmp_path / "flights" / "lost+found" / "x").mkdir(parents=True)
    spool = Spool(tmp_path)
    assert [key.stream for key in spool.streams] == ["late"]
    signs = list(spool_signs(spool, IdleSealer()))  # type: ignore[arg-type]
    assert [sign.kind for sign in signs] == ["stranger"] * 6
    assert not any(sign.is_in_the_way for sign in signs)
    spool.close()


def test_a_text_under_a_segment_s_name_is_kept(tmp_path: Path) -> None:
    stream = tmp_path / "flights" / "labels" / "late"
    stream.mkdir(parents=True)
    (stream / "000000000001.log").write_text("hello, this is no segment")
    spool = Spool(tmp_path)
    assert spool.kept_aside == ["flights/labels/late/000000000001.bad"]
    [sign] = spool_signs(spool, IdleSealer())  # type: ignore[arg-type]
    assert (sign.kind, sign.project) == ("spool", "flights")
    spool.close()


def test_rows_that_wait_for_a_blob_store_are_no_rows_that_are_kept_aside(tmp_path: Path) -> None:
    """Whoever stops the gateway over them keeps everybody from their answers, and finds nothing to salvage."""
    spool, sealer = Spool(tmp_path), IdleSealer()
    sealer.fails_for_s, sealer.failure = 61.0, "the disk is full"
    assert [sign.kind for sign in spool_signs(spool, sealer)] == ["sealing"]  # type: ignore[arg-type]
    spool.close()


def served_by_a_view(world: World) -> GatewayProcess:
    """Release a model that reads what was pushed last, and push a row."""
    for name in ("weather", "outcomes"):
        spec = DatasetSpec(name, SourceSpec("push"), ["id"], "at")
        world.server.call("data.declare", spec=msgspec.to_builtins(spec))
    view = ColumnViewSpec("recent", "weather", "id", ["value"])
    service = ServiceSpec("late", [], ["recent"], LabelSpec("outcomes", "value"), "binary")
    world.server.call("features.declare_view", spec=msgspec.to_builtins(view))
    world.server.call("features.declare_service", spec=msgspec.to_builtins(service))
    plan = world.server.call("features.freeze_plan", service="late")
    columns = [InputColumn("value", "number")]
    world.declare()
    world.release(world.register(ConstantModel(0.3), columns, plan_digest=plan, service="late"))
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    return gateway


def push(gateway: GatewayProcess) -> httpx.Response:
    row = {"id": "a", "at": "2026-03-01T12:00:00Z", "value": 1.0}
    return gateway.post("/v1/flights/datasets/weather/push", {"rows": [row]})


def status(gateway: GatewayProcess, path: str) -> int:
    return httpx.get(f"{gateway.url}{path}", timeout=PATIENCE_S).status_code


READY = ("/healthz", "/v2/health/ready", "/v2/models/late/ready")


def told(world: World) -> list[Any]:
    [lease] = world.server.call("serving.gateways")
    return list(lease.troubles)


@pytest.mark.slow
def test_an_emptied_online_store_is_told_until_it_is_filled_whatever_is_pushed(world: World) -> None:
    gateway = served_by_a_view(world)
    assert [status(gateway, path) for path in READY] == [200, 200, 200]
    assert push(gateway).status_code == 200
    held = world.state / "gateway-0" / "held-views.json"
    wait_until(lambda: held.exists(), lambda: gateway.log)
    for path in world.state.glob("online/*/online.sqlite*"):
        path.unlink()
    wait_until(lambda: [status(gateway, path) for path in READY] == [503, 503, 503], lambda: gateway.log)
    assert "the view recent that late reads holds no rows" in gateway.health["why"][0]
    wait_until(lambda: [one.kind for one in told(world)] == ["store"], lambda: told(world))
    assert push(gateway).status_code == 200
    wait_until(lambda: ["lost its rows" in one.message for one in told(world)] == [True], lambda: told(world))
    [trouble] = told(world)
    assert trouble.view == "recent"
    assert f"features.start_materialize view=recent plan_digest={trouble.plan_digest} " in trouble.next_step
    assert status(gateway, READY[-1]) == 503
    store = online.OnlineStores(world.state).open("flights")
    [key] = store.upkeep.view_keys("flights")
    store.finish(key)
    store.close()
    wait_until(lambda: [status(gateway, path) for path in READY] == [200, 200, 200], lambda: gateway.health)
    wait_until(lambda: told(world) == [], lambda: told(world))


def test_a_gateway_that_could_load_nothing_of_a_deployment_is_not_ready(tmp_path: Path) -> None:
    for gateway in served(tmp_path, is_open=True):
        life: Any = gateway._life
        assert ask(gateway, "/healthz").status_code == 200
        life.keeper.has_asked = True
        life.keeper.failures["flights", "late"] = Fault("the online store did not answer")
        health = ask(gateway, "/healthz")
        assert (health.status_code, health.json()["failures"]) == (
            503,
            {"flights/late": "the online store did not answer"},
        )
        assert life.service.why_not_ready("other", must_serve=True) == []
        assert life.service.why_not_ready("") == ["a deployment has no release that this gateway could load"]
        life.keeper.served["other", "fine"] = None  # of another team, which goes on being answered
        assert life.service.why_not_ready("") == life.service.why_not_ready("other") == []
        assert len(life.service.why_not_ready("flights")) == 1
        life.keeper.served.clear()
        life.keeper.failures.clear()
        assert ask(gateway, "/healthz").status_code == 200


@pytest.mark.slow
def test_a_full_disk_makes_the_gateway_not_ready_and_is_told(world: World) -> None:
    world.declare()
    world.release(world.register(ConstantModel(0.3), [InputColumn("x0", "number")]))
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    assert gateway.process is not None
    unlimited = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
    answer = gateway.post("/v1/flights/deployments/late/predict", {"rows": [{"x0": 1.0}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
    assert [status(gateway, path) for path in READY] == [503, 503, 503]
    assert status(gateway, "/v2/health/live") == 200
    wait_until(lambda: [one.kind for one in told(world)] == ["disk"], lambda: told(world))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    metrics = httpx.get(f"{gateway.url}/metrics", headers=headers, timeout=PATIENCE_S).text
    assert 'loopwright_gateway_troubles{kind="disk"} 1.0' in metrics
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: [status(gateway, path) for path in READY] == [200, 200, 200], lambda: gateway.health)
    assert gateway.post("/v1/flights/deployments/late/predict", {"rows": [{"x0": 1.0}]}).status_code == 200


def test_a_disk_that_became_read_only_is_told_survived_and_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everybody is answered meanwhile, nothing grows, and what the server said counts although it cannot be kept."""
    labels = "/v1/flights/deployments/late/labels"
    for gateway in served(tmp_path, is_open=True):
        life: Any = gateway._life
        keeper, spool = life.keeper, life.spool
        keeper.known = Known(external=[("flights", "late")])

        def send(gateway: Gateway = gateway) -> httpx.Response:
            return ask(gateway, labels, json={"labels": [{"prediction_id": "p", "label": 1}]})

        assert send().status_code == 200
        size, line = spool.size_bytes, Line()
        with read_only():
            answers = [send() for _ in range(20)]
            assert {answer.status_code for answer in answers} == {503}
            assert "Read-only file system" in answers[-1].text
            for _ in range(3):
                told = keeper._look()
                keeper.refresh(VerbCaller(Addresses("http://server"), line))
            assert [(trouble.kind, "Read-only" in trouble.message) for trouble in told] == [("disk", True)]
            health = ask(gateway, "/healthz")
            assert (health.status_code, "Read-only" in health.text) == (503, True)
            assert keeper.known.clocks == {"flights": "wall"}
            keeper.known.external = [("flights", "late")]
            assert not (tmp_path / "known.json").exists()
        assert spool.size_bytes == size
        assert len(caplog.records) < 5, caplog.text
        assert "Traceback" not in caplog.text
        assert send().status_code == 200
        assert keeper._look() == []
        assert ask(gateway, "/healthz").status_code == 200
        keeper._write_rest()
        assert (tmp_path / "known.json").exists()
        (stream,) = spool.streams.values()
        assert sum(batch.rows for batch in read_segment(stream.path(1)).batches) == 2


class Line:
    """A server with one project and nothing else."""

    def post(self, url: str, body: bytes = b"", **_options: Any) -> bytes:
        project = {"name": "flights", "owner": "", "risk": "low", "clock": "wall", "clock_at": 0, "created_at": 1}
        answers = {"tokens.live": {}, "projects.list": [project], "data.personal_columns": {}, "data.topics": {}}
        return to_json(answers.get(url.rpartition("/")[2], []))
