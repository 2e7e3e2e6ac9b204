"""References: what stretches of the training rows reach by themselves, and columns that only tell the time."""

import itertools

import numpy as np
import polars as pl
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US, parse_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.monitoring import MonitorSpec
from loopwright.monitoring.alerts import is_beyond
from loopwright.monitoring.evaluation import measure_drift
from loopwright.monitoring.reference import SCORE, build_reference, calendars_of, tells_time
from loopwright.monitoring.tallies import build_window_profile

START = parse_moment("2013-01-01")


def rows(days: int, a_day: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    at = START + (np.arange(days * a_day) * (DAY_US // a_day))
    local = pl.Series(at).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    daily = np.repeat(rng.normal(10, 5, days), a_day)
    return pl.DataFrame(
        {
            "event_at": at,
            "hour": local.dt.hour(),
            "weekday": local.dt.weekday(),
            "month": local.dt.month(),
            "temp": daily + rng.normal(0, 1, days * a_day),
            "season": 15 * np.sin(np.arange(days * a_day) / (365 * a_day) * 2 * np.pi) + rng.normal(0, 1, days * a_day),
            "noise": rng.normal(size=days * a_day),
            "count": rng.integers(0, 24, days * a_day),
            "score": rng.random(days * a_day),
        }
    )


def test_columns_of_the_clock_are_known_in_any_zone_through_daylight_saving() -> None:
    frame = rows(200)
    found = build_reference(frame, ["hour", "weekday", "month", "temp", "noise", "count"])
    assert found.clock == ["hour", "weekday", "month"]


def test_a_few_wrong_hours_do_not_hide_the_clock_but_chance_is_none() -> None:
    at = START + np.arange(5_000) * HOUR_US
    hours = (at // HOUR_US) % 24
    hours[:20] = 3
    calendars = calendars_of(at)
    assert tells_time(pl.Series(hours), calendars)
    assert not tells_time(pl.Series(np.random.default_rng(0).integers(0, 24, 5_000)), calendars)
    assert not tells_time(pl.Series(["a"] * 5_000), calendars)


def test_what_lasts_a_day_is_usual_and_noise_is_not() -> None:
    found = build_reference(rows(60), ["temp", "noise"])
    assert found.usual["temp"] > 1
    assert found.usual["noise"] < 0.1


def test_longer_stretches_stray_less() -> None:
    frame = rows(60)
    day = build_reference(frame, ["temp"]).usual["temp"]
    fortnight = build_reference(frame, ["temp"], over_us=14 * DAY_US).usual["temp"]
    assert fortnight < day / 3


def test_too_few_stretches_say_nothing() -> None:
    assert build_reference(rows(5), ["temp"]).usual == {"temp": 0.0}
    assert build_reference(rows(5).drop("event_at"), ["temp"]).usual == {}


def test_scores_are_watched_under_a_name_of_their_own() -> None:
    assert SCORE in build_reference(rows(3), ["temp"], score="score").profile.columns


def test_an_absent_column_is_named() -> None:
    with pytest.raises(InvalidInput, match="lacks a column"):
        build_reference(rows(3), ["wind"])


@pytest.mark.slow
def test_a_year_like_the_reference_raises_hardly_an_alarm() -> None:
    """Days that each have a mood of their own: 20 columns, 300 windows, persistence 2."""
    rng = np.random.default_rng(3)
    a_day, columns = 200, [f"x{i}" for i in range(20)]

    def days(count: int) -> pl.DataFrame:
        drawn = {name: np.repeat(rng.normal(size=count), a_day) + rng.normal(size=count * a_day) for name in columns}
        return pl.DataFrame({"event_at": START + np.arange(count * a_day) * (DAY_US // a_day), **drawn})

    reference = build_reference(days(60), columns)
    year, spec = days(300), MonitorSpec(DAY_US)
    beyond = []
    for day in range(300):
        rows = year.slice(day * a_day, a_day).select(pl.lit(0.5).alias("score"), pl.all().name.prefix("f."))
        found = measure_drift(reference, build_window_profile(rows, reference), spec)
        beyond.append({one.feature for one in found if is_beyond(one)})
    lasting = [now & before for before, now in itertools.pairwise(beyond)]
    assert sum(map(len, lasting)) / (300 * 20) < 0.01
    assert sum(len(features) >= 3 for features in lasting) == 0
