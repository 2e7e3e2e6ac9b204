"""Gateways acknowledge releases under a lease."""

from collections.abc import Callable
from typing import Any

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import SECOND_US, FixedClock
from loopwright.serving import is_acknowledged

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
