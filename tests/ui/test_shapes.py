"""What several pages show of a deployment."""

import msgspec

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.events import Event
from loopwright.monitoring import Performance
from loopwright.server.ui.pages.serving_shapes import quality_series
from loopwright.server.ui.sentences import recent_changes
from loopwright.server.ui.svg import line_chart
from loopwright.serving import Release
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


def event(position: int, type_: str, **payload: object) -> Event:
    at, ref = position * HOUR_US, "flights/deployment:late"
    return Event(position, "flights", type_, ref, "service:loopwright", at, at, "because", payload)


def test_what_is_told_again_and_again_is_one_line_of_the_timeline() -> None:
    looks = [event(place, "serving.rollout_step_judged", version=3) for place in range(9, 4, -1)]
    other = event(4, "serving.rollout_step_judged", version=2)
    quiet = event(10, "jobs.done")
    began = event(3, "serving.rollout_started", version=2)
    changes = recent_changes([quiet, *looks, other, began], ("jobs.",), 2)
    assert [(one.text, one.times, one.at_us // HOUR_US) for one in changes] == [
        ("v3 step judged", 5, 9),
        ("v2 step judged", 1, 4),
    ]
    assert changes[0].first_us == 5 * HOUR_US
