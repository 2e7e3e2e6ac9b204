"""What is played is one deployment and what it needs, and nothing that reaches outside."""

import msgspec
import pytest

from loopwright.data import SourceSpec
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import InvalidInput
from loopwright.loop.backtest.narrowing import first_training, narrow_spec
from loopwright.pipelines import PipelineSpec
from loopwright.registry import GateSpec
from loopwright.serving import ApproveSpec
from loopwright.store.types import Retention
from tests.loop.conftest import CODE, LATE, PROJECT


def test_what_reaches_outside_stays_out() -> None:
    gates = [GateSpec("latency", {"p99_ms": 5}), GateSpec("no_leak")]
    asked = msgspec.structs.replace(LATE, approve=ApproveSpec("person", "person"), gates=gates)
    early = msgspec.structs.replace(LATE, name="early", model="early")
    blind = msgspec.structs.replace(PROJECT.trains[0], name="calendar", alias="calendar")
    other = msgspec.structs.replace(PROJECT.trains[0], name="other", model="early")
    told = msgspec.structs.replace(PROJECT.monitors["late"], channels=["webhook:https://example.com"])
    parquet = msgspec.structs.replace(PROJECT.datasets[0], source=SourceSpec("parquet", "rows"), transform=CODE)
    spec = msgspec.structs.replace(
        PROJECT,
        datasets=[parquet],
        pipelines=[PipelineSpec("nightly", [], {})],
        trains=[blind, *PROJECT.trains, other],
        deployments=[asked, early],
        monitors={"late": told, "early": told},
        retentions=[Retention("predictions", "", 90 * DAY_US)],
        retrains=[*PROJECT.retrains, msgspec.structs.replace(PROJECT.retrains[0], deployment="early")],
    )
    played = narrow_spec(spec, "late")
    assert (played.clock, played.pipelines) == ("replay", [])
    assert [(one.source.kind, one.transform) for one in played.datasets] == [("push", None)]
    assert [train.name for train in played.trains] == ["calendar", "fit"]
    assert first_training(played).name == "fit"
    assert [(one.name, one.approve.first, one.approve.retrain) for one in played.deployments] == [
        ("late", "policy", "policy")
    ]
    assert played.retentions == [], "an editor may not declare how long rows are kept; the project goes with its rows"
    assert played.deployments[0].gates == gates[1:], "how busy the machine is today says nothing about history"
    assert {name: monitor.channels for name, monitor in played.monitors.items()} == {"late": []}
    assert [policy.deployment for policy in played.retrains] == ["late"]


def test_a_label_that_happens_at_no_moment_has_no_history() -> None:
    timeless = msgspec.structs.replace(PROJECT.datasets[0], time=None)
    with pytest.raises(InvalidInput, match="without a moment cannot be replayed"):
        narrow_spec(msgspec.structs.replace(PROJECT, datasets=[timeless]), "late")
