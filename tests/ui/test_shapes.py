"""What several pages show of a deployment."""

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.events import Event
from loopwright.monitoring import Performance
from loopwright.serving import Release, RolloutStepJudged
from loopwright.ui.kit.rendering import environment
from loopwright.ui.kit.sentences import recent_changes
from loopwright.ui.kit.svg import line_chart
from loopwright.ui.pages.serving.deployments import month_rows
from loopwright.ui.pages.serving.shapes import newest_quality, quality_series, settled_value
from tests.ui.seed_serving import _variant, _window


def release(number: int, day: int, candidate: int | None) -> Release:
    variants = [_variant("champion", 1, 1.0)] + ([_variant("candidate", candidate, 0, True)] if candidate else [])
    start = _window("late", day).start_at
    return Release(1, "flights", "late", number, number, "binary", variants, {}, "", [], "", start, start)


def test_candidates_of_different_versions_are_lines_of_their_own() -> None:
    releases = [release(4, 30, None), release(3, 20, 3), release(2, 15, None), release(1, 5, 2)]
    windows = []
    for day in reversed(range(40)):
        window = _window("late", day)
        is_tried = 5 <= day < 15 or 20 <= day < 30
        tried = [Performance("candidate", "roc_auc", 0.8, 0.7, 0.9, 10, 10)] if is_tried else []
        windows.append(msgspec.structs.replace(window, performance=[*window.performance, *tried]))
    series = quality_series(windows, releases)
    assert [one.name for one in series] == ["champion", "calendar", "frozen", "candidate v2", "candidate v3"]
    assert len({one.colour for one in series}) == 5
    start = _window("late", 0).start_at
    days = [[(point.x - start) // DAY_US for point in one.points if point.y is not None] for one in series[3:]]
    assert days == [list(range(5, 15)), list(range(20, 30))]
    drawn = line_chart(series, label="quality")
    assert ">v2</text>" in drawn, "a line that ends before the others bears its version"
    assert ">champion 0." in drawn


def event(position: int, type_: str, *, actor: str = "service:loopwright", why: str = "", **payload: object) -> Event:
    at, ref = position * HOUR_US, "flights/deployment:late"
    return Event(position, "flights", type_, ref, actor, at, at, why, payload)


def look(position: int, version: int) -> Event:
    facts = RolloutStepJudged("late", "late", version, 1, "roll_a", 0, position, "wait", [])
    return event(position, "serving.rollout_step_judged", why=f"look {position}", **to_builtins(facts))


def test_what_is_told_again_and_again_is_one_line_of_the_timeline() -> None:
    events = [event(10, "jobs.done"), *(look(place, 3) for place in range(9, 4, -1)), look(4, 2)]
    changes = recent_changes([*events, event(3, "serving.rollout_started")], ("jobs.",), 2, read=8)
    assert [(one.text, one.times, one.at_us // HOUR_US) for one in changes] == [
        ("v3 step judged", 5, 9),
        ("v2 step judged", 1, 4),
    ]
    assert changes[0].first_us == 5 * HOUR_US
    assert not any(one.is_cut for one in changes)


def test_what_differs_in_who_or_why_is_told_apart() -> None:
    told = [("user:bob", "hotfix"), ("user:alice", "hotfix"), ("user:alice", "drop column x")]
    applied = [event(place, "loop.applied", actor=actor, why=why) for place, (actor, why) in enumerate(told)]
    assert [(one.actor, one.reason) for one in recent_changes(applied, (), 9, read=100)] == told


def test_a_timeline_says_what_repeats_and_folds_long_reasons() -> None:
    long = event(3, "serving.rollout_aborted", why="<b>worse</b> " * 20, version=3)
    changes = recent_changes([long, look(2, 3), look(1, 3)], ("jobs.",), 9, read=3)
    macros = environment().get_template("kit/macros.html").make_module({})
    drawn = macros.changes(changes, "flights", 4 * HOUR_US)
    assert "at least 2 times since 1970-01-01 01:00" in drawn
    assert drawn.count("<details") == 1
    assert "&lt;b&gt;worse" in drawn
    assert "<b>" not in drawn


def test_the_band_of_a_mean_is_that_of_the_mean_and_not_the_mean_of_bands() -> None:
    days = [_window("late", day) for day in reversed(range(130))]
    part = [Performance("champion", "roc_auc", 0.7, 0.64, 0.76, 400, 400)]
    windows = [msgspec.structs.replace(one, performance=part) for one in days]
    [line] = quality_series(windows, [])
    point = line.points[0]
    assert point.y == pytest.approx(0.7)
    assert (point.low, point.high) == (pytest.approx(0.7 - 0.06 / 3**0.5), pytest.approx(0.7 + 0.06 / 3**0.5))


def test_the_same_month_of_two_years_is_two() -> None:
    windows = [_window("late", day) for day in (400, 35)]
    assert len(month_rows(windows)) == 2


def test_quality_is_told_of_settled_windows_and_called_provisional_before() -> None:
    part = [Performance("champion", "roc_auc", 0.6, 0.5, 0.7, 400, 850)]
    closed = msgspec.structs.replace(_window("late", 9), state="closed", performance=part)
    settled = msgspec.structs.replace(_window("late", 8), state="settled")
    assert newest_quality([closed, settled]) == (settled, False)
    assert newest_quality([closed]) == (closed, True)
    assert settled_value(closed) is None
    assert newest_quality([]) == (None, False)
