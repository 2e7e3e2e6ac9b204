"""Swaps: no request fails while releases come, and a release that cannot be loaded leaves the old one."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.data.datasets import personal_columns, topics
from loopwright.gateway.disk import read_document
from loopwright.gateway.releases.keeper import LEASE_S, LONGEST_RETRY_S, ReleaseKeeper, Waiting
from loopwright.gateway.releases.known import KNOWN_FILE, Known
from loopwright.governance import Token, tokens
from loopwright.governance.arguments import check_content
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.verbs import Role
from loopwright.registry import InputColumn
from loopwright.registry.flavours.constant import ConstantModel
from loopwright.store.types import BlobRef
from tests.gateway.answering.test_runtime import GOOD, runtime
from tests.gateway.conftest import World, booster, number_columns, x_row
from tests.gateway.test_process import PREDICT, Load, start_served
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def acknowledged(world: World) -> int:
    """Return the position of the newest release that the gateway has taken; -1 while none gives a sign of life."""
    return max((int(lease.acknowledged) for lease in world.server.call("serving.gateways")), default=-1)


def test_releases_are_swapped_under_load_without_a_failed_request(world: World) -> None:
    gateway = start_served(world)
    versions = [world.register(booster(3, seed), number_columns(3)) for seed in (1, 2, 3)]
    with Load(gateway) as load:
        load.wait_for_more(10)
        for number, version in enumerate(versions, start=2):
            released = world.release(version)
            gateway.wait_for(lambda health, wanted=number: health["releases"]["flights/late"] == wanted)  # type: ignore[misc]
            wait_until(lambda at=released.position: acknowledged(world) >= at)
        load.wait_for_more(10)
    assert load.failures == []
    assert {answer["release"] for answer in load.answers} >= {1, 4}
    for answer in load.answers:
        assert {one["model_version"] for one in answer["predictions"]} == {answer["release"]}


def test_labels_of_a_release_that_is_still_to_be_loaded_are_those_of_its_task(tmp_path: Path) -> None:
    keeper = ReleaseKeeper(tmp_path, SimpleNamespace(), SimpleNamespace(), "g", "http://g")  # type: ignore[arg-type]
    release = runtime(GOOD).release
    keeper._expect(release)
    wanted = keeper.labels_of((release.project, release.deployment))
    assert (wanted.task, wanted.are_ids_ours) == (release.task, True)


def test_a_release_that_cannot_be_loaded_for_days_stops_no_other(tmp_path: Path) -> None:
    """The pause grows with each try: a number too large for it was raised instead, and kept all others from loading."""

    def launch(*_: Any) -> Any:
        raise Unavailable("the blob store does not answer")

    launcher: Any = SimpleNamespace(launch=launch)
    keeper = ReleaseKeeper(tmp_path, SimpleNamespace(), launcher, "g", "http://g")  # type: ignore[arg-type]
    waiting = Waiting(runtime(GOOD).release, tries=5000)
    before = time.monotonic()
    assert not keeper._launch(waiting)
    assert before < waiting.due_at <= time.monotonic() + LONGEST_RETRY_S


def test_why_a_release_cannot_be_loaded_can_be_told(tmp_path: Path) -> None:
    """It goes with every sign of life: one that is refused ends the lease of the whole gateway."""

    def launch(*_: Any) -> Any:
        raise ValueError("bad field 'ab\0cd' of caf\udce9" + "x" * 300_000)

    launcher: Any = SimpleNamespace(launch=launch)
    keeper = ReleaseKeeper(tmp_path, SimpleNamespace(), launcher, "g", "http://g")  # type: ignore[arg-type]
    assert not keeper._launch(Waiting(runtime(GOOD).release))
    ((why, _, _),) = keeper.failures.values()
    check_content("why", why)
    assert why.startswith("ValueError: bad field 'ab\\x00cd' of caf\\udce9xx")


def test_what_ended_projects_left_holds_up_neither_signs_of_life_nor_denials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.gateway.releases.keeper.LEASE_S", LEASE_S / 100)
    called, told, may_go_on = list[str](), list[int](), threading.Event()

    def answer(function: Any, **_: Any) -> Any:
        called.append(function.__name__)
        return {} if function in (tokens.live, personal_columns) else []

    def let_go(*_: Any) -> None:
        may_go_on.wait()
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "of a project's code")

    def tell(*_: Any) -> None:
        told.append(1)
        raise ValueError("of a project's code")

    control = SimpleNamespace(call=answer, waiting=lambda _: control, timeout_s=1)
    keeper = ReleaseKeeper(
        tmp_path,
        control,
        SimpleNamespace(keep_only=len),
        "g",
        "http://g",
        let_go=let_go,
        tell_denials=tell,  # type: ignore[arg-type]
    )
    keeper.has_asked = True
    threads = [threading.Thread(target=loop, daemon=True) for loop in (keeper._keep_alive, keeper._keep_clear)]
    for thread in threads:
        thread.start()
    wait_until(lambda: called.count("acknowledge") > 3 and len(told) > 3)
    may_go_on.set()
    wait_until(lambda: called.count("acknowledge") > 6)
    assert all(thread.is_alive() for thread in threads)
    keeper.stop()
    for thread in threads:
        thread.join()


def test_an_older_answer_makes_no_revoked_token_known_again(tmp_path: Path) -> None:
    """A question that a stranger's token set off is answered after the poll that heard of the revocation."""
    live = {"digest": Token("tok_1", "person:ana", "flights", Role.EDITOR, 0, None, None)}
    is_asked, may_go_on = threading.Event(), threading.Event()

    def answer(function: Any, **_: Any) -> Any:
        return dict(live) if function is tokens.live else {} if function in (personal_columns, topics) else []

    def answer_late(function: Any, **_: Any) -> Any:
        if function is personal_columns:
            is_asked.set()
            may_go_on.wait()
        return answer(function)

    prompt, late = SimpleNamespace(call=answer), SimpleNamespace(call=answer_late)
    keeper = ReleaseKeeper(tmp_path, prompt, SimpleNamespace(), "g", "http://g")  # type: ignore[arg-type]
    keeper.refresh()
    assert list(keeper.known.tokens) == ["digest"]
    older = threading.Thread(target=keeper.refresh, args=(late,))
    older.start()
    is_asked.wait()
    live.clear()
    keeper.refresh()
    assert not keeper.known.tokens
    may_go_on.set()
    older.join()
    assert not keeper.known.tokens
    assert read_document(tmp_path / KNOWN_FILE, Known) == keeper.known


def test_a_release_that_cannot_be_loaded_keeps_the_old_one(world: World) -> None:
    gateway = start_served(world)
    broken = world.register(booster(3, 5), number_columns(3))
    files = world.server.call("registry.get_version", model="late", version=broken).files
    bodies = {file.digest: world.blobs.get(file.digest) for file in files}
    for digest in bodies:
        world.blobs.delete(digest)
    released = world.release(broken)
    health = gateway.wait_for(lambda health: bool(health["failures"]))
    assert "not stored here" in health["failures"]["flights/late"]
    assert gateway.post(PREDICT, {"rows": [x_row(3)]}).json()["release"] == 1
    assert acknowledged(world) < released.position

    failures = wait_until(lambda: world.server.call("serving.status", deployment="late").failures)
    assert [(one.number, "not stored here" in one.why) for one in failures] == [(2, True)]
    assert acknowledged(world) == released.position
    told = [event for event in world.server.call("audit.list") if event.type == "serving.release_failed"]
    assert [event.payload["number"] for event in told] == [2]
    for body in bodies.values():
        assert isinstance(world.blobs.put(body), BlobRef)
    gateway.wait_for(lambda health: health["releases"]["flights/late"] == 2)
    assert gateway.wait_for(lambda health: not health["failures"])["status"] == "ok"
    wait_until(lambda: not world.server.call("serving.status", deployment="late").failures)


def test_shadows_answer_unseen_and_are_sealed(world: World) -> None:
    gateway = start_served(world)
    world.release(1, candidate=world.register(booster(3, 4), number_columns(3)), is_shadow=True)
    gateway.wait_for(lambda health: health["releases"]["flights/late"] == 2)
    with Load(gateway) as load:
        load.wait_for_more(100)
    gateway.seal()
    logged = world.chunks("predictions").filter(release=2)
    shadow, served = logged.filter(is_shadow=True), logged.filter(is_shadow=False)
    assert {one["variant"] for answer in load.answers for one in answer["predictions"]} == {"champion"}
    assert sorted(shadow["prediction_id"]) == sorted(served["prediction_id"]) == sorted(load.ids)
    assert shadow["variant"].unique().to_list() == ["candidate"]
    assert shadow["f.x0"].null_count() == shadow.height
    assert served["f.x0"].null_count() == 0


def test_an_unsplit_caller_stays_on_its_variant(world: World) -> None:
    world.declare(sticky="caller")
    first, second = (world.register(ConstantModel(value), [InputColumn("x0", "number")]) for value in (0.1, 0.9))
    gateway = world.gateway()
    gateway.start()
    rows = [{"x0": 1, "caller": f"c{number}"} for number in range(200)]
    seen: list[set[str]] = []
    for number, weight in enumerate((0.2, 0.6), start=1):
        world.release(first, candidate=second, weight=weight)
        gateway.wait_for(lambda health, wanted=number: health["releases"].get("flights/late") == wanted)  # type: ignore[misc]
        answer = gateway.post(PREDICT, {"rows": rows}).json()["predictions"]
        assert all(one["score"] == {"champion": 0.1, "candidate": 0.9}[one["variant"]] for one in answer)
        seen.append({row["caller"] for row, one in zip(rows, answer, strict=True) if one["variant"] == "candidate"})
    assert seen[0] < seen[1]
    assert 20 <= len(seen[0]) <= 65


def test_a_retired_endpoint_refuses_requests_and_takes_labels_through_a_restart(world: World) -> None:
    gateway = start_served(world)
    [answered] = gateway.post(PREDICT, {"rows": [x_row(3)]}).json()["predictions"]
    retired = world.server.call("serving.retire", deployment="late", reason="the desk is closed")
    wait_until(lambda: acknowledged(world) >= retired.position)
    labels = {"labels": [{"prediction_id": answered["prediction_id"], "label": 1}]}
    forged = {"predictions": [{"id": answered["prediction_id"], "score": 0.9}]}
    for _ in range(2):
        told = gateway.post(PREDICT.replace("predict", "predictions"), forged)
        assert (told.status_code, told.json()["error"]["message"]) == (409, "late is served here")
        refused = gateway.post(PREDICT, {"rows": [x_row(3)]})
        assert refused.status_code == 404
        assert refused.json()["error"]["message"] == "late was retired: the desk is closed"
        assert gateway.post(PREDICT.replace("predict", "labels"), labels).json() == {"accepted": 1}
        assert "flights/late" not in gateway.health["releases"]
        gateway.stop()
        gateway.start()
    again = world.release(1)
    wait_until(lambda: acknowledged(world) >= again.position)
    assert gateway.post(PREDICT, {"rows": [x_row(3)]}).json()["release"] == 3


def test_a_gateway_that_was_away_serves_nothing_older_than_the_others(world: World) -> None:
    gateway = start_served(world)
    gateway.kill()
    on_disk = next((world.state / "gateway-0" / "releases" / "flights").glob("late.*"))
    before = on_disk.read_bytes()
    world.release(world.register(booster(3, 1), number_columns(3)))
    for _ in range(3):
        gateway.start()
        answers = iter(lambda: gateway.post(PREDICT, {"rows": [x_row(3)]}), None)
        first = next(answer for answer in answers if answer.status_code == 200)
        assert first.json()["release"] == 2
        gateway.kill()
        on_disk.write_bytes(before)
