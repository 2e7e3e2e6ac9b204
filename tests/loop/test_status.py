"""Where a project stands, in one answer."""

import msgspec

from loopwright.data import CheckSpec
from loopwright.kernel.clock import DAY_US, format_moment
from loopwright.registry import Evidence, GateResult, GateSpec
from tests.loop.conftest import PROJECT, Importer, Loop


def line(loop: Loop) -> tuple[str, str, str]:
    [found] = loop("loop.status").deployments
    return found.serving, found.state, found.refused


def judge(loop: Loop, version: int, verdict: str) -> None:
    evidence = Evidence("late", version, 900, {}, {}, None, None, 0, 0, None, [])
    results = [
        GateResult(GateSpec("at_least"), verdict, "roc_auc 0.6, at least 0.65"),  # type: ignore[arg-type]
        GateResult(GateSpec("latency"), "passed", "p99 2 ms"),
    ]
    loop.service("registry.record_gates", model="late", version=version, results=results, evidence=evidence)


def test_a_training_that_its_gates_refused_is_told_until_one_passes(loop: Loop) -> None:
    assert line(loop) == ("nothing", "steady", "")
    judge(loop, loop.register(), "failed")
    assert line(loop) == ("nothing", "steady", "version 1: roc_auc 0.6, at least 0.65")
    loop.register()  # a yardstick, which no gate judges
    assert line(loop)[2] == "version 1: roc_auc 0.6, at least 0.65"
    passed = loop.register()
    judge(loop, passed, "passed")
    assert line(loop)[2] == ""
    judge(loop, loop.register(), "invalid")
    assert line(loop)[2] == "version 4: roc_auc 0.6, at least 0.65"
    loop("registry.force_gates", model="late", version=4, reason="known to be fine")
    assert line(loop)[2] == ""


def test_a_refit_passed_with_the_version_it_repeats(loop: Loop) -> None:
    judge(loop, loop.register(), "failed")
    held_out = loop.register()
    judge(loop, held_out, "passed")
    loop.register(refit_of=held_out)
    assert line(loop)[2] == ""


def test_a_rollout_tells_its_step_and_when_it_is_judged_again(serving: Loop) -> None:
    def progress() -> str:
        [found] = serving("loop.status").deployments
        return str(found.progress)

    assert progress() == ""
    version = serving.train()
    began, hold = serving.wall.at_us, 7 * DAY_US
    until = f"since {format_moment(began)}, judged again {format_moment(began + hold)}"
    assert progress() == f"shadow for 7d, step 1 of 1, {until}; no verdict yet"
    serving.pass_time(hold)
    place = {"rollout_id": serving.rollout().rollout_id, "step": 0, "look": 1}
    verdict = {"step": 0, "metric": "roc_auc", "champion": 0.7, "candidate": 0.7, "difference": 0, "low": -1, "high": 1}
    verdict |= {"verdict": "undecided", "message": "neither better nor worse", "rows": 9, "at_us": serving.wall.at_us}
    serving.service("serving.finish_step", **place, verdicts=[verdict])
    assert f"judged again {format_moment(began + 2 * hold)}; roc_auc undecided: neither better nor worse" in progress()
    serving("serving.pause", rollout_id=place["rollout_id"], reason="a look")
    assert f"since {format_moment(began)}, paused; roc_auc undecided" in progress()
    serving("loop.rollback", deployment="late", reason=f"no version {version}")
    assert progress() == ""


def test_quarantine_is_told_once_with_what_failed(loop: Loop, importer: Importer) -> None:
    checked = msgspec.structs.replace(PROJECT.datasets[0], checks=[CheckSpec("not_null", "carrier")])
    loop.apply(datasets=[checked])
    importer.load(carrier=None)
    [told] = loop("loop.status").needs_attention
    assert told.startswith("warning: dataset flights version 1 is quarantined: carrier")
    [incident] = loop("monitoring.incidents")
    loop("monitoring.resolve", incident_id=incident.incident_id, reason="seen")
    assert loop("loop.status").needs_attention == [told]
    importer.load()
    assert loop("loop.status").needs_attention == []
