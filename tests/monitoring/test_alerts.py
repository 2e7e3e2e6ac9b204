"""Rules of alerts: effect and persistence."""

from typing import Any

import msgspec

from loopwright.monitoring.alerts import findings_on_close, findings_on_settle, judged_kinds, mark_drift
from loopwright.monitoring.types import (
    DecayLimit,
    FeatureDrift,
    Monitor,
    MonitorSpec,
    Performance,
    PolicyAnswers,
    Window,
)

DAY = 86_400_000_000


def monitor(**changes: Any) -> Monitor:
    spec = MonitorSpec(DAY, performance="roc_auc")
    policy = PolicyAnswers(drift=True)
    made = Monitor("late", spec, "binary", False, policy, "ref", 0, 1, {"roc_auc": 0.76, "rmse": 10.0}, None, 0, 0)
    return msgspec.structs.replace(made, **changes)


def window(day: int = 0, distance: float = 0.0, **changes: Any) -> Window:
    drift = [FeatureDrift("temp", distance, 0.0, 0.0, 900, False, 0.2)]
    made = Window(
        "late", day * DAY, (day + 1) * DAY, "closed", 900, 0, 0, 5.0, drift, [], [], {}, "", 0, reference="ref"
    )
    return msgspec.structs.replace(made, **changes)


def kinds(found: list[Any]) -> list[str]:
    return [finding.kind for finding in found]


def test_drift_needs_as_many_windows_in_a_row_as_declared() -> None:
    assert not mark_drift(window(1, 0.5), [], 2).drift[0].is_drifted
    assert not mark_drift(window(1, 0.5), [window(0, 0.1)], 2).drift[0].is_drifted
    assert mark_drift(window(1, 0.5), [window(0, 0.5)], 2).drift[0].is_drifted
    assert mark_drift(window(1, 0.5), [], 1).drift[0].is_drifted


def test_windows_against_another_reference_do_not_count() -> None:
    before = [window(0, 0.5, reference="older")]
    assert not mark_drift(window(1, 0.5), before, 2).drift[0].is_drifted


def test_too_few_rows_are_no_drift() -> None:
    few = [FeatureDrift("temp", 3.0, 0.0, 0.0, 99, False, 0.2)]
    assert not mark_drift(window(drift=few), [], 1).drift[0].is_drifted


def test_a_quiet_window_is_judged_by_the_stretch_that_its_features_are_compared_over() -> None:
    far = [FeatureDrift("temp", 0.5, 0.5, 0.1, 280, False, 0.2)]
    before = [window(day, drift=far, predictions=95) for day in (1, 0)]
    marked = mark_drift(window(2, drift=far, predictions=95), before, 2)
    assert kinds(findings_on_close(marked, before, monitor())) == ["drift", "missing"]
    assert judged_kinds(marked, before, monitor()) == {"drift", "missing"}
    short = [msgspec.structs.replace(far[0], rows=99)]
    few = window(2, drift=short, predictions=95)
    assert findings_on_close(few, before, monitor()) == []
    assert judged_kinds(few, before, monitor()) == set()


def test_a_window_without_rows_of_its_own_says_nothing() -> None:
    far = [FeatureDrift("temp", 0.5, 0.5, 0.1, 280, False, 0.2)]
    before = [window(day, drift=far) for day in (1, 0)]
    marked = mark_drift(window(2, drift=far, predictions=0), before, 2)
    assert findings_on_close(marked, before, monitor()) == []
    assert judged_kinds(marked, before, monitor()) == set()


def test_drift_names_its_features_and_calls_for_nobody_where_a_policy_acts() -> None:
    marked = mark_drift(window(1, 0.5), [window(0, 0.5)], 2)
    [finding] = findings_on_close(marked, [], monitor())
    assert finding.message == "1 feature drifts: temp"
    assert not finding.needs_person
    assert findings_on_close(marked, [], monitor(policy=None))[0].needs_person


def test_missing_values_that_stay_call_for_a_person() -> None:
    gone = [FeatureDrift("temp", 0.0, 0.5, 0.1, 900, False, 0.2)]
    assert kinds(findings_on_close(window(1, drift=gone), [window(0)], monitor())) == []
    found = findings_on_close(window(1, drift=gone), [window(0, drift=gone)], monitor())
    assert kinds(found) == ["missing"]
    assert found[0].needs_person


def test_errors_need_certainty() -> None:
    assert kinds(findings_on_close(window(errors=12), [], monitor())) == []
    [finding] = findings_on_close(window(errors=30), [], monitor())
    assert (finding.kind, finding.severity) == ("errors", "critical")
    assert findings_on_close(window(predictions=99, errors=99), [], monitor()) == []


def test_latency_is_measured_against_what_is_usual() -> None:
    before = [window(day, latency_p99_ms=80.0) for day in range(10, 0, -1)]
    slow = msgspec.structs.replace(before[0], latency_p99_ms=900.0)
    assert kinds(findings_on_close(window(11, latency_p99_ms=900.0), before, monitor())) == []
    assert kinds(findings_on_close(window(11, latency_p99_ms=900.0), [slow, *before[1:]], monitor())) == ["latency"]
    assert kinds(findings_on_close(window(11, latency_p99_ms=300.0), [slow, *before[1:]], monitor())) == []


def span(value: float, half: float, labels: int = 5_000, metric: str = "roc_auc", variant: str = "champion") -> Window:
    one = Performance(variant, metric, value, value - half, value + half, labels, labels)
    return window(state="settled", span=[one])


def test_decay_is_beyond_chance_and_beyond_the_limit() -> None:
    assert kinds(findings_on_settle(span(0.70, 0.02), monitor())) == ["decay"]
    assert findings_on_settle(span(0.70, 0.04), monitor()) == []
    assert findings_on_settle(span(0.74, 0.001), monitor()) == []
    assert findings_on_settle(span(0.60, 0.02, labels=100), monitor()) == []
    assert findings_on_settle(span(0.60, 0.02, variant="frozen"), monitor()) == []
    assert findings_on_settle(span(0.60, 0.02), monitor(metrics={})) == []


def test_decay_is_judged_by_the_limits_of_the_policy_that_answers_it() -> None:
    policy = PolicyAnswers(decay=[DecayLimit(0.01, 1000), DecayLimit(0.05, 500)])
    answered = monitor(policy=policy)
    assert kinds(findings_on_settle(span(0.70, 0.005, labels=500), answered)) == ["decay"]
    assert findings_on_settle(span(0.72, 0.005, labels=500), answered) == []
    [finding] = findings_on_settle(span(0.72, 0.005, labels=1000), answered)
    assert (finding.needs_person, round(finding.facts["limit"], 3)) == (False, 0.75)
    assert "decay" not in judged_kinds(span(0.72, 0.005, labels=499), [], answered)
    [unanswered] = findings_on_settle(span(0.70, 0.005, labels=500), monitor())
    assert unanswered.needs_person


def test_errors_decay_upwards_by_a_share() -> None:
    spec = MonitorSpec(DAY, performance="rmse")
    assert kinds(findings_on_settle(span(11.0, 0.2, metric="rmse"), monitor(spec=spec))) == ["decay"]
    assert findings_on_settle(span(10.2, 0.1, metric="rmse"), monitor(spec=spec)) == []
    assert findings_on_settle(span(5.0, 0.1, metric="rmse"), monitor(spec=spec)) == []


def test_only_what_had_enough_to_go_by_was_judged() -> None:
    quiet = [window(day) for day in range(20, 0, -1)]
    assert judged_kinds(quiet[0], quiet[1:], monitor()) == {"drift", "missing", "errors", "latency"}
    assert judged_kinds(quiet[0], [], monitor()) == {"errors"}
    assert judged_kinds(window(9, drift=[]), quiet, monitor()) == {"errors", "latency"}
    assert judged_kinds(quiet[0], [window(9, drift=[]), *quiet], monitor()) == {"errors", "latency"}
    assert judged_kinds(window(9, predictions=99), quiet, monitor()) == {"drift", "missing"}
    assert judged_kinds(window(9, latency_p99_ms=None), quiet, monitor()) == {"drift", "missing", "errors"}
    older = [window(day, reference="older") for day in range(20, 0, -1)]
    assert judged_kinds(quiet[0], older, monitor()) == {"missing", "errors", "latency"}


def test_decay_is_judged_where_labels_have_matured() -> None:
    assert "decay" in judged_kinds(span(0.76, 0.02), [], monitor())
    assert "decay" in judged_kinds(msgspec.structs.replace(span(0.76, 0.02), predictions=0), [], monitor())
    for unjudged in (
        span(0.76, 0.02, labels=199),
        span(0.76, 0.02, variant="frozen"),
        msgspec.structs.replace(span(0.76, 0.02), state="closed"),
    ):
        assert "decay" not in judged_kinds(unjudged, [], monitor())
    assert "decay" not in judged_kinds(span(0.76, 0.02), [], monitor(metrics={}))
