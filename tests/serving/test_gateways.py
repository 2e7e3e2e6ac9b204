"""Gateways acknowledge releases under a lease."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import DAY_US, MINUTE_US, SECOND_US, FixedClock
from loopwright.serving import forget_gateways, is_acknowledged, last_heard_of
from loopwright.serving import sql as serving_sql

Call = Callable[..., Any]


def test_a_release_is_acknowledged_once_every_live_gateway_has_it(
    serving_one: int, worker: Any, dispatcher: Dispatcher, wall: FixedClock, call: Call
) -> None:
    def is_served() -> bool:
        return bool(dispatcher.read("flights", LOCAL_ACTOR, is_acknowledged))

    def acknowledge(gateway: str, position: int) -> None:
        worker.call("serving.acknowledge", {"gateway": gateway, "address": "http://g", "position": position}, SYSTEM)

    assert is_served()
    acknowledge("g0", 0)
    assert not is_served()
    acknowledge("g0", 1)
    assert is_served()
    acknowledge("g1", 0)
    assert not is_served()
    wall.at_us += 11 * SECOND_US
    assert call("serving.gateways") == []
    assert is_served()


def test_a_gateway_that_cannot_load_a_release_is_not_waited_for_and_is_told_of(
    serving_one: int, worker: Any, service: Call, dispatcher: Dispatcher, call: Call, events: Call
) -> None:
    failed = {"gateway": "g0", "deployment": "late", "number": 1, "why": "its blob is gone"}
    failures = [{**failed, "project": "flights"}, {**failed, "project": "other"}]
    lease = {"gateway": "g0", "address": "http://g", "position": 1, "failures": failures}
    for _ in range(2):
        service("serving.report_failure", **failed)
        worker.call("serving.acknowledge", lease, SYSTEM)
    assert events()[-2:] == ["serving.release_failed", "serving.rollout_aborted"]
    assert events().count("serving.release_failed") == 1
    assert dispatcher.read("flights", LOCAL_ACTOR, is_acknowledged)
    (failure,) = call("serving.status", deployment="late").failures
    assert (failure.gateway, failure.number, failure.why) == ("g0", 1, "its blob is gone")
    assert [one.project for one in call("serving.gateways")[0].failures] == ["flights"]
    worker.call("serving.acknowledge", {**lease, "failures": []}, SYSTEM)
    assert call("serving.status", deployment="late").failures == []


def test_a_version_that_has_served_stays_where_it_cannot_be_loaded_for_a_while(
    serving_one: int, worker: Any, service: Call, wall: FixedClock, call: Call, events: Call
) -> None:
    wall.at_us += 16 * MINUTE_US
    failed = {"gateway": "g0", "deployment": "late", "number": 1, "why": "the bucket is away"}
    lease = {"gateway": "g0", "address": "http://g", "position": 1, "failures": [{**failed, "project": "flights"}]}
    for _ in range(2):
        service("serving.report_failure", **failed)
        worker.call("serving.acknowledge", lease, SYSTEM)
    status = call("serving.status", deployment="late")
    assert (status.champion, status.rollout.state, len(status.failures)) == (serving_one, "done", 1)
    assert events()[-1] == "serving.release_failed"


def test_a_sign_of_life_reads_no_other_gateway(worker: Any, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def acknowledge(gateway: str) -> None:
        worker.call("serving.acknowledge", {"gateway": gateway, "address": "http://g", "position": 0}, SYSTEM)

    acknowledge("g0")
    with monkeypatch.context() as patch:
        patch.setattr(serving_sql, "list_gateways", lambda *_, **__: pytest.fail("it read the others"))
        acknowledge("g1")
        acknowledge("g1")
    assert [lease.gateway for lease in call("serving.gateways")] == ["g0", "g1"]


def test_gateways_that_are_long_gone_are_forgotten_but_for_the_last(
    worker: Any, dispatcher: Dispatcher, wall: FixedClock
) -> None:
    def forget() -> int:
        return int(dispatcher.write(SYSTEM, SERVICE_ACTOR, forget_gateways))

    assert forget() == 0
    for gateway in ("g0", "g1", "g2"):
        worker.call("serving.acknowledge", {"gateway": gateway, "address": "http://g", "position": 0}, SYSTEM)
        heard_at = wall.at_us
        wall.at_us += MINUTE_US
    wall.at_us = heard_at + DAY_US
    assert forget() == 2
    wall.at_us += DAY_US
    assert forget() == 0
    assert dispatcher.read("flights", LOCAL_ACTOR, last_heard_of) == heard_at
