"""Reading versions: columns, stretches of time, pruning, columns that came later."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from loopwright.data import ImportResult, read
from loopwright.kernel.clock import DAY_US, parse_moment
from loopwright.kernel.errors import InvalidInput, Quarantined
from tests.data.conftest import weather, weather_spec
from tests.inprocess import InProcessWorker

DAY_2 = parse_moment("2013-03-02")


@pytest.fixture
def version(call: Callable[..., Any], import_rows: Callable[..., ImportResult]) -> Any:
    call("data.declare", spec=weather_spec())
    import_rows("weather", weather(1))
    import_rows("weather", weather(2))
    import_rows("weather", weather(3).with_columns(gust=pl.lit(1.5)))
    return call("data.get_version", dataset="weather")


def test_a_stretch_of_time_opens_only_its_fragments(version: Any, worker: InProcessWorker) -> None:
    worker.blobs.delete(version.fragments[0].digest)
    rows = read.scan(version, worker.blobs, ["temp", "gust"], DAY_2 + 1, DAY_2 + DAY_US + 1).collect()
    assert (rows.columns, rows.height, rows["gust"].null_count()) == (["temp", "gust"], 24, 23)
    assert read.scan(version, worker.blobs, start_at=DAY_2 + 9 * DAY_US).collect().height == 0


def test_what_was_known_of_a_stretch_of_time_opens_only_its_fragments_too(
    version: Any, worker: InProcessWorker
) -> None:
    worker.blobs.delete(version.fragments[0].digest)
    stretch = DAY_2 + 1, DAY_2 + DAY_US + 1
    rows = read.as_known_at(version, worker.blobs, DAY_2 + DAY_US // 2, ["temp"], *stretch).collect()
    assert rows["temp"].drop_nulls().to_list() == [10.0 + hour for hour in range(1, 12)]
    later = read.as_known_at(version, worker.blobs, DAY_2 + 9 * DAY_US, ["temp"], *stretch).collect()
    assert later.equals(read.scan(version, worker.blobs, ["temp"], *stretch).collect())


def test_an_older_version_does_not_know_a_later_column(
    call: Callable[..., Any], version: Any, worker: InProcessWorker
) -> None:
    old = call("data.get_version", dataset="weather", version=2)
    assert "gust" not in read.scan(old, worker.blobs).collect_schema()
    profile = read.read_profile(version, worker.blobs)
    assert profile is not None
    assert (profile.rows, profile.columns["gust"].nulls, profile.columns["temp"].count) == (72, 48, 72)


def test_unknown_columns_and_quarantined_versions_are_refused(
    call: Callable[..., Any], import_rows: Callable[..., ImportResult], version: Any, worker: InProcessWorker
) -> None:
    with pytest.raises(InvalidInput, match="no column tmp"):
        read.scan(version, worker.blobs, ["tmp"])
    import_rows("weather", weather(4, temp=100.0).with_columns(gust=pl.lit(0.0)))
    bad = call("data.get_version", dataset="weather", version=4)
    with pytest.raises(Quarantined, match="weather version 4 is quarantined"):
        read.scan(bad, worker.blobs)
    assert read.scan(bad, worker.blobs, may_be_quarantined=True).collect().height == 96
