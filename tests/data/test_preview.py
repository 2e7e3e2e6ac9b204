"""A look at rows: what was asked for and no more, as versions read whole have them."""

from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest

from loopwright.data import ImportResult
from loopwright.data.preview import MOST_COLUMNS, preview_failing, preview_rows
from loopwright.kernel.errors import Corrupt, InvalidInput, NotFound
from tests.data.conftest import rows_of, weather, weather_spec
from tests.inprocess import InProcessWorker


@pytest.fixture
def changed(call: Callable[..., Any], import_rows: Callable[..., ImportResult]) -> Any:
    """Three days of weather; then hours of the first are gone, and others have another temperature."""
    call("data.declare", spec=weather_spec())
    for day in (1, 2, 3):
        import_rows("weather", weather(day))
    import_rows("weather", weather(1).head(5).select("origin", "observed_at"), "delete")
    import_rows("weather", weather(1).slice(10, 30).with_columns(temp=pl.lit(0.5)), "upsert")
    import_rows("weather", weather(2).head(3).with_columns(temp=pl.lit(-7.5), wind=pl.lit(None, pl.Int64)), "upsert")
    import_rows("weather", weather(2).slice(1, 4).select("origin", "observed_at"), "delete")
    return call("data.get_version", dataset="weather")


@pytest.mark.parametrize("limit", [1, 7, 20, 100])
def test_pages_together_are_the_rows_as_they_are_now(changed: Any, worker: InProcessWorker, limit: int) -> None:
    whole = rows_of(changed, worker.blobs)
    assert whole.height == changed.rows == 72 - 9
    seen: list[list[Any]] = []
    for offset in range(0, changed.rows, limit):
        shown = preview_rows(changed, worker.blobs, columns=["wind", "temp"], offset=offset, limit=limit)
        assert (shown.total, shown.offset) == (changed.rows, offset)
        assert [column.name for column in shown.columns] == ["temp", "wind"], "in the order of the version"
        seen += shown.values
    assert seen == [list(row) for row in whole.select("temp", "wind").iter_rows()]
    assert preview_rows(changed, worker.blobs, offset=changed.rows).values == []


def test_wide_rows_are_seen_a_hundred_columns_at_a_time(
    call: Callable[..., Any], import_rows: Callable[..., ImportResult], worker: InProcessWorker
) -> None:
    call("data.declare", spec=weather_spec(name="wide", key=["id"], time=None, known_at={}, checks=[]))
    names = [f"c{number}" for number in range(249)]
    import_rows("wide", pl.DataFrame({"id": [7, 8], **{name: [name, None] for name in names}}))
    version = call("data.get_version", dataset="wide")
    pages = [preview_rows(version, worker.blobs, columns_offset=offset) for offset in (0, 100, 200, 300)]
    assert [column.name for page in pages for column in page.columns] == ["id", *names]
    assert [value for page in pages for row in page.values[:1] for value in row] == [7, *names]
    assert [len(page.columns) for page in pages] == [100, 100, 50, 0]


def test_only_the_files_are_opened_that_the_rows_lie_in(changed: Any, worker: InProcessWorker) -> None:
    first = next(part for part in changed.fragments if part.kind == "rows")
    for part in changed.fragments:
        if part.place != first.place and first.place not in part.targets:
            worker.blobs.delete(part.digest)
    assert len(preview_rows(changed, worker.blobs, limit=10).values) == 10
    with pytest.raises(Corrupt, match="a file of them is lost"):
        preview_rows(changed, worker.blobs, offset=30)


def test_a_file_that_was_cut_is_told_as_corrupt(changed: Any, worker: InProcessWorker) -> None:
    path = worker.blobs.path(next(part for part in changed.fragments if part.kind == "rows").digest)
    path.chmod(0o600)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(Corrupt, match="rows of weather v7 cannot be read"):
        preview_rows(changed, worker.blobs)


def test_values_are_shown_as_samples_are(
    call: Callable[..., Any], import_rows: Callable[..., ImportResult], worker: InProcessWorker
) -> None:
    call("data.declare", spec=weather_spec(name="odd", key=["id"], time=None, known_at={}, checks=[]))
    frame = pl.DataFrame(
        {
            "id": [1, 2],
            "<script>": ["<b>&", None],
            "long": ["x" * 5000, ""],
            "single": pl.Series([0.1, None], dtype=pl.Float32),
            "odd": [float("nan"), float("-inf")],
            "day": [date(2013, 3, 1), None],
            "bytes": [b"\x00\xff", None],
            "list": [[1, 2], None],
            "empty": pl.Series([None, None], dtype=pl.Null),
        }
    )
    import_rows("odd", frame)
    version = call("data.get_version", dataset="odd")
    shown = preview_rows(version, worker.blobs, masked=["long"])
    assert shown.masked == ["long"]
    first, second = (dict(zip(frame.columns, row, strict=True)) for row in shown.values)
    assert first["long"] == second["long"] == "•••"
    assert (first["single"], first["odd"], second["odd"]) == (0.1, "nan", "-inf")
    assert (first["day"], first["bytes"], first["list"]) == ("2013-03-01", "00ff", "[1, 2]")
    assert [second[name] for name in ("<script>", "single", "day", "bytes", "list", "empty")] == [None] * 6
    whole = preview_rows(version, worker.blobs, columns=["long"]).values[0][0]
    assert len(whole) < 1100
    assert "letters left out" in whole


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"offset": -1}, "offset"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"columns": ["tmp"]}, "columns"),
        ({"columns_offset": -1}, "columns_offset"),
        ({"columns": [str(number) for number in range(MOST_COLUMNS + 1)]}, "columns"),
    ],
)
def test_what_is_too_much_is_refused_by_its_field(
    changed: Any, worker: InProcessWorker, asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        preview_rows(changed, worker.blobs, **asked)
    told = refused.value.to_dict()
    assert told["field"] == field
    assert told["rule"]


def test_failing_rows_come_with_what_they_failed(
    call: Callable[..., Any], import_rows: Callable[..., ImportResult], worker: InProcessWorker
) -> None:
    call("data.declare", spec=weather_spec(personal=["origin"]))
    import_rows("weather", weather(1, temp=50.0))
    version = call("data.get_version", dataset="weather", version=1)
    shown = preview_failing(version, worker.blobs, limit=5, masked=["origin"])
    assert [column.name for column in shown.columns] == ["failed_checks", "origin", "observed_at", "temp", "wind"]
    assert (shown.part, shown.total, len(shown.values)) == ("failing", 13, 5)
    assert shown.values[0] == ["temp between -60 and 60", "•••", "2013-03-01T11:00:00Z", 61.0, 22]
    import_rows("weather", weather(2))
    with pytest.raises(NotFound, match="no failing rows are kept"):
        preview_failing(call("data.get_version", dataset="weather"), worker.blobs)
