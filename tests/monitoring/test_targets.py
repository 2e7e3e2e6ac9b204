"""Targets of channels are written and never shown."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Dispatcher
from loopwright.kernel.errors import InvalidInput
from loopwright.monitoring import MonitorSpec
from loopwright.monitoring.targets import shown_channel

DAY = 86_400_000_000
URL = "https://hooks.example/T0/B0/s3cret"


@pytest.mark.parametrize("channel", ["log", f"webhook:{URL}", "webhook:http://[", "pager:1234-secret"])
def test_what_is_shown_has_no_target_and_stays_what_it_is(channel: str) -> None:
    shown = shown_channel(channel)
    assert "s3cret" not in shown
    assert "1234" not in shown
    assert shown_channel(shown) == shown
    assert shown.partition(":")[0] == channel.partition(":")[0]


def test_other_targets_are_shown_as_others() -> None:
    assert shown_channel(f"webhook:{URL}") != shown_channel(f"webhook:{URL}x")
    assert shown_channel(f"webhook:{URL}").startswith("webhook:https://hooks.example/…")


def test_a_declared_channel_is_shown_without_and_delivered_with_its_target(
    served: Callable[..., Any], dispatcher: Dispatcher
) -> None:
    served(MonitorSpec(DAY, channels=["log", f"webhook:{URL}"]))

    def call(verb: str, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=LOCAL_ACTOR, project="flights")

    spec = call("monitoring.get", deployment="late").spec
    assert spec.channels == ["log", shown_channel(f"webhook:{URL}")]
    asked = {"channel": spec.channels[1]}
    target = dispatcher.call("monitoring.channel_target", asked, actor=SERVICE_ACTOR, project="flights")
    assert target == URL
    call("monitoring.declare", deployment="late", spec={"every_us": DAY, "channels": spec.channels})
    unknown = {"every_us": DAY, "channels": ["webhook:https://hooks.example/…" + "0" * 16]}
    with pytest.raises(InvalidInput, match="not known here"):
        call("monitoring.declare", deployment="late", spec=unknown)
