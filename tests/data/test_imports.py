"""Building versions: repeats, keys that clash, schemas that change, many rows."""

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.data import DatasetSpec, DatasetVersion, ImportedRows, SourceSpec
from loopwright.data.columns import admit
from loopwright.data.commits import content_digest
from loopwright.data.imports import MOST_FRAGMENT_ROWS, ImportRequest, build_version
from loopwright.data.keys import KeyIndex
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore
from tests.data.conftest import weather, weather_spec


def build(
    frame: pl.DataFrame,
    blobs: BlobStore,
    parent: DatasetVersion | None = None,
    operation: Any = "append",
    **changes: Any,
) -> ImportedRows:
    spec = weather_spec(**changes)
    return build_version(admit(frame, spec), ImportRequest(spec, operation), parent, blobs, 0)


def version_of(built: ImportedRows) -> DatasetVersion:
    digest = content_digest(built.schema, built.rows, built.row_sum)
    return DatasetVersion(
        *("weather", 1, "ready", "append", None, digest, built.schema, built.fragments, built.rows, 0),
        *(built.profile.digest, [], 0, 0, "", built.spec, built.row_sum),
    )


@pytest.fixture
def parent(blob_store: BlobStore) -> DatasetVersion:
    return version_of(build(weather(1), blob_store))


def test_exact_repeats_are_dropped_and_counted(blob_store: BlobStore, parent: DatasetVersion) -> None:
    twice = build(pl.concat([weather(2), weather(2, hours=3)]), blob_store)
    assert (twice.rows, twice.dropped_rows) == (24, 3)
    overlapping = build(pl.concat([weather(1, hours=5), weather(2)]), blob_store, parent)
    assert (overlapping.rows, overlapping.dropped_rows, overlapping.parent) == (24, 5, 1)


def test_a_key_with_two_contents_is_an_error(blob_store: BlobStore, parent: DatasetVersion) -> None:
    clash = pl.concat([weather(2), weather(2, hours=1, temp=11.0)])
    with pytest.raises(InvalidInput, match=r"2 rows .* come twice .*origin=JFK, observed_at=2013-03-02T00:00:00Z"):
        build(clash, blob_store)
    with pytest.raises(InvalidInput, match=r"24 rows .* are in version 1 with other values") as refused:
        build(weather(1, temp=11.0), blob_store, parent)
    assert len(refused.value.details["samples"]) == 20
    assert build(weather(1, temp=11.0), blob_store, parent, "replace").rows == 24


def test_an_append_opens_only_what_it_overlaps(blob_store: BlobStore, parent: DatasetVersion) -> None:
    blob_store.delete(parent.fragments[0].digest)
    assert build(weather(2), blob_store, parent).rows == 24


TRIPS = DatasetSpec("trips", SourceSpec("push"), ["id"], "at")


def trips(ids: list[int], day: int) -> pl.DataFrame:
    at = pl.datetime(2013, 3, day, time_zone="UTC")
    return pl.DataFrame({"id": ids}).select("id", at=at.cast(pl.Datetime("us", "UTC")), km=pl.col("id") * 2)


def append_trips(
    frame: pl.DataFrame, blobs: BlobStore, parent: DatasetVersion | None, index: KeyIndex | None = None
) -> DatasetVersion:
    built = build_version(frame, ImportRequest(TRIPS, "append"), parent, blobs, 0, index)
    before = parent.fragments if parent is not None else []
    return msgspec.structs.replace(version_of(built), fragments=[*before, *built.fragments])


def test_a_key_is_found_whatever_its_new_time(blob_store: BlobStore) -> None:
    first = append_trips(trips([1, 2, 3], day=1), blob_store, None)
    both = append_trips(trips([4, 5], day=2), blob_store, first)
    with pytest.raises(InvalidInput, match=r"2 rows of dataset trips are in version 1 with other values: id=2; id=5"):
        append_trips(trips([2, 5, 6], day=9), blob_store, both)
    again = build_version(
        pl.concat([trips([3], day=1), trips([6], day=3)]), ImportRequest(TRIPS, "append"), both, blob_store, 0
    )
    assert (again.rows, again.dropped_rows) == (1, 1)


def test_keys_that_are_remembered_are_not_read_again(blob_store: BlobStore, tmp_path: Path) -> None:
    place = tmp_path / "keys" / "trips"
    version = append_trips(trips([1, 2, 3], day=1), blob_store, None, KeyIndex(["id"], place))
    version = append_trips(trips([4, 5], day=2), blob_store, version, KeyIndex(["id"], place))
    bodies = {fragment.digest: blob_store.get(fragment.digest) for fragment in version.fragments}
    for digest in bodies:
        blob_store.delete(digest)
    assert len(append_trips(trips([6], day=3), blob_store, version, KeyIndex(["id"], place)).fragments) == 3
    for body in bodies.values():
        blob_store.put(body)
    # A file that is lost or damaged is made again from the fragments.
    for damaged in (b"", b"\0" * 99, place.read_bytes()[:-1]):
        place.write_bytes(damaged)
        with pytest.raises(InvalidInput, match="other values: id=2"):
            append_trips(trips([2], day=3), blob_store, version, KeyIndex(["id"], place))


def test_a_changed_schema_stops_an_append_and_holds_back_a_replacement(
    blob_store: BlobStore, parent: DatasetVersion
) -> None:
    changed = weather(2).drop("wind").with_columns(pl.col("temp").cast(pl.String))
    with pytest.raises(InvalidInput) as refused:
        build(changed, blob_store, parent, checks=[])
    assert "column temp is String, was Float64; column wind (Int64) is missing" in refused.value.message
    assert (refused.value.field, "replace" in str(refused.value.next_step)) == ("temp", True)
    replaced = build(changed, blob_store, parent, "replace", checks=[])
    assert [(result.check.kind, result.check.column, result.passed) for result in replaced.checks] == [
        ("schema", "temp", False),
        ("schema", "wind", False),
    ]


def test_a_column_without_values_takes_its_dtype_later(blob_store: BlobStore) -> None:
    first = build(weather(1).with_columns(gust=pl.lit(None)), blob_store)
    assert first.schema[-1].dtype == "Null"
    second = build(weather(2).with_columns(gust=pl.lit(2.5)), blob_store, version_of(first))
    assert second.schema[-1].dtype == "Float64"
    third = build(weather(3).with_columns(gust=pl.lit(None)), blob_store, version_of(second))
    assert third.schema[-1].dtype == "Float64"


def test_no_rows_are_an_error_unless_they_append(blob_store: BlobStore, parent: DatasetVersion) -> None:
    assert build(weather(1).clear(), blob_store, parent).fragments == []
    for version, operation in ((None, "append"), (parent, "replace")):
        with pytest.raises(InvalidInput, match="no rows"):
            build(weather(1).clear(), blob_store, version, operation)


def test_many_rows_are_cut_and_sorted_by_time(blob_store: BlobStore) -> None:
    rows = MOST_FRAGMENT_ROWS + 10
    spec = DatasetSpec("big", SourceSpec("push"), ["id"], "at")
    frame = pl.DataFrame({"id": range(rows), "at": range(rows, 0, -1)}).with_columns(
        pl.col("at").cast(pl.Datetime("us", "UTC"))
    )
    built = build_version(frame, ImportRequest(spec, "append"), None, blob_store, 0)
    assert [fragment.rows for fragment in built.fragments] == [MOST_FRAGMENT_ROWS, 10]
    assert (built.fragments[0].event_at_min, built.fragments[1].event_at_min) == (1, MOST_FRAGMENT_ROWS + 1)


def test_a_dataset_without_time_checks_every_fragment(blob_store: BlobStore) -> None:
    spec = DatasetSpec("carriers", SourceSpec("push"), ["code"])
    frame = pl.DataFrame({"code": ["AA", "UA"], "name": ["American", "United"]})
    first = build_version(frame, ImportRequest(spec, "append"), None, blob_store, 0)
    with pytest.raises(InvalidInput, match="other values"):
        build_version(
            pl.DataFrame({"code": ["AA"], "name": ["America West"]}),
            ImportRequest(spec, "append"),
            version_of(first),
            blob_store,
            0,
        )
