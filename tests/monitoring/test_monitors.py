"""Declaring what is watched, opening windows, setting references."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.monitoring import Monitor, MonitorSpec, PolicyAnswers, Window
from loopwright.monitoring.sql import save_window
from loopwright.serving import DeploymentSpec
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx
from tests.conftest import START
from tests.monitoring.conftest import Worker
from tests.store.interleaving import interruptions

Served = Callable[..., Monitor]
Call = Callable[..., Any]


def timers(worker: Worker) -> list[tuple[str, int]]:
    with worker.dispatcher.database.reading() as connection:
        due = store_sql.due_timers(connection, "flights", 2**62, limit=99)
    return [(timer.verb, timer.due_at) for timer in due]


def test_declaring_again_changes_nothing(served: Served, call: Call) -> None:
    first = served(MonitorSpec(DAY_US))
    assert first.spec.performance == "roc_auc"
    assert served(MonitorSpec(DAY_US)) == first
    declared = [event for event in call("audit.list") if event.type == "monitoring.declared"]
    assert len(declared) == 1
    assert served(MonitorSpec(DAY_US), policy=PolicyAnswers(drift=True)).policy == PolicyAnswers(drift=True)


def test_the_default_metric_follows_the_task(served: Served) -> None:
    assert served(MonitorSpec(DAY_US), task="regression").spec.performance == "rmse"


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("performance", MonitorSpec(DAY_US, performance="rmse")),
        ("drift", MonitorSpec(DAY_US, drift="magic")),
        ("every", MonitorSpec(5)),
        ("span", MonitorSpec(DAY_US, span_us=1)),
        ("span", MonitorSpec(10 * MINUTE_US)),
        ("over", MonitorSpec(HOUR_US, over_us=29 * DAY_US)),
        ("value", MonitorSpec(DAY_US, value="__import__('os')")),
        ("channels", MonitorSpec(DAY_US, channels=["pigeon:loft"])),
        ("channels", MonitorSpec(DAY_US, channels=["webhook"])),
        ("channels", MonitorSpec(DAY_US, channels=["webhook:"])),
    ],
)
def test_what_cannot_work_is_refused_by_field(field: str, spec: MonitorSpec, served: Served) -> None:
    with pytest.raises(InvalidInput) as refused:
        served(spec)
    assert refused.value.field == field


def test_a_stretch_is_judged_whole_or_refused(served: Served, worker: Worker) -> None:
    half_hour = 30 * MINUTE_US
    with pytest.raises(InvalidInput, match="672 windows of 10m") as refused:
        served(MonitorSpec(10 * MINUTE_US))
    assert refused.value.next_step.startswith("span=112h or less")
    served(MonitorSpec(half_hour))
    empty = Window("late", 0, 1, "closed", *(0, 0, 0, None, [], [], [], {}, "", 0))

    def close(tx: Tx) -> None:
        for number in range(672):
            start_at = worker.wall.at_us + number * half_hour
            save_window(tx, msgspec.structs.replace(empty, start_at=start_at, end_at=start_at + half_hour))

    worker.dispatcher.write("flights", SERVICE_ACTOR, close)
    end_at = worker.wall.at_us + 14 * DAY_US
    stretch = {"deployment": "late", "start_at": end_at - half_hour, "end_at": end_at, "state": "closed"}
    task = worker.call("monitoring.window_task", stretch, "flights")
    assert task.before[0].start_at == worker.wall.at_us


def test_nothing_watches_an_unknown_deployment(call: Call) -> None:
    with pytest.raises(NotFound):
        call("monitoring.declare", deployment="none", spec={"every_us": DAY_US})
    with pytest.raises(NotFound, match="nothing watches"):
        call("monitoring.get", deployment="none")


def test_windows_open_once_on_the_grid(served: Served, worker: Worker) -> None:
    served(MonitorSpec(DAY_US, grace_us=5))
    start_at = worker.wall.at_us + 7
    for at in (start_at, start_at + 3 * DAY_US):
        opened = worker.call("monitoring.open_windows", {"deployment": "late", "start_at": at}, "flights")
        assert opened.next_at == worker.wall.at_us
    assert timers(worker) == [("monitoring.close_window", worker.wall.at_us + DAY_US + 5)]


def test_an_unwatched_deployment_opens_nothing(worker: Worker) -> None:
    assert worker.call("monitoring.open_windows", {"deployment": "none", "start_at": 0}, "flights") is None
    args = {"deployment": "none", "profile_digest": "0" * 64}
    assert worker.call("monitoring.set_reference", args, "flights") is None


def test_another_length_moves_the_grid_without_overlap(served: Served, worker: Worker) -> None:
    served(MonitorSpec(DAY_US))
    worker.call("monitoring.open_windows", {"deployment": "late", "start_at": worker.wall.at_us}, "flights")
    moved = served(MonitorSpec(7 * DAY_US))
    assert moved.next_at is not None
    assert moved.next_at >= worker.wall.at_us
    assert moved.next_at % (7 * DAY_US) == 0
    assert timers(worker) == [("monitoring.close_window", moved.next_at + 7 * DAY_US)]


def test_a_reference_brings_the_held_out_metrics(served: Served, champion: Callable[..., str], worker: Worker) -> None:
    served(MonitorSpec(DAY_US))
    digest = champion(auc=0.77, days=2)
    found = worker.call("monitoring.get", {"deployment": "late"}, "flights")
    assert (found.reference, found.model_version, found.metrics) == (digest, 1, {"roc_auc": 0.77})
    assert found.reference_at == worker.wall.at_us


def test_an_external_deployment_opens_at_once(served: Served) -> None:
    found = served(MonitorSpec(DAY_US), is_external=True)
    assert found.is_external
    assert found.next_at is not None


def test_a_window_that_closes_keeps_the_reference_that_is_set_meanwhile(dispatcher: Dispatcher, call: Call) -> None:
    def act(verb: str, **args: Any) -> Any:
        return dispatcher.call(f"monitoring.{verb}", args, actor=SERVICE_ACTOR, project="flights")

    def close(number: int) -> Any:
        return act("close_window", deployment=f"d{number}", start_at=START, end_at=START + DAY_US)

    def refer(number: int) -> Any:
        return act("set_reference", deployment=f"d{number}", profile_digest="a" * 64)

    for number in range(40):
        name = f"d{number}"
        call("serving.declare", spec=to_builtins(DeploymentSpec(name, name, "binary", is_external=True)))
        call("monitoring.declare", deployment=name, spec=to_builtins(MonitorSpec(DAY_US)))
    for number, played in enumerate(interruptions(dispatcher.database, close, refer)):
        played.both()
        monitor = call("monitoring.get", deployment=f"d{number}")
        assert monitor.reference == "a" * 64
        assert monitor.next_at == START + DAY_US
