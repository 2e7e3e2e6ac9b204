"""Changes by key against a plain dict: upsert, complete, delete, mixed with appends, in any order."""

from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.data import DatasetSpec, DatasetVersion, KnownAt, SourceSpec, layers, read
from loopwright.data.diff import diff_versions
from loopwright.data.fingerprints import row_hashes, sum_rows
from loopwright.data.profiles import profile_frame
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore, open_blob_store
from tests.data.history import History

HOUR_US = 3_600_000_000
START = datetime(2024, 1, 1, tzinfo=UTC)
DTYPES = {
    "id": pl.Int64,
    "at": pl.Datetime("us", "UTC"),
    "paid": pl.Float64,
    "note": pl.String,
    "paid_at": pl.Datetime("us", "UTC"),
}
LOANS = DatasetSpec("loans", SourceSpec("push"), ["id"], "at", {"paid": KnownAt("paid_at")})
Row = dict[str, Any]
Rows = dict[int, Row]


def hours(number: int) -> datetime:
    return START + timedelta(hours=number)


def us(number: int) -> int:
    return int(hours(number).timestamp() * 1e6)


class Loans(History):
    """Loans, of which it is known late whether they are paid."""

    def __init__(self, blobs: BlobStore) -> None:
        super().__init__(blobs, LOANS)

    def put(self, operation: Any, rows: list[Row], at_us: int = 0, **options: Any) -> "Loans":
        self.change(operation, frame_of(rows), at_us, **options)
        return self

    def rows(self, **options: Any) -> dict[int, Row]:
        frame = read.scan(self.newest, self.blobs, **options).collect()
        return {row["id"]: row for row in frame.to_dicts()}

    def as_known(self, hour: int) -> dict[int, Row]:
        return {row["id"]: row for row in read.as_known_at(self.newest, self.blobs, us(hour)).collect().to_dicts()}


def frame_of(rows: list[Row]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["id"]
    return pl.DataFrame(rows, schema={name: DTYPES.get(name) for name in names})


def loan(key: int, at: int = 0, **values: Any) -> Row:
    return {"id": key, "at": hours(at), "paid": None, "note": None, "paid_at": None, **values}


@pytest.fixture
def loans(blob_store: BlobStore) -> Loans:
    return Loans(blob_store).put("append", [loan(key, key) for key in range(1, 7)])


cells = st.fixed_dictionaries(
    {},
    optional={"paid": st.sampled_from([None, 0.0, 1.0, 2.5]), "note": st.sampled_from([None, "a", "b"])},
)
keys = st.lists(st.integers(1, 8), min_size=1, max_size=5, unique=True)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), keys, st.just({})),
        st.tuples(st.just("complete"), keys, cells.filter(bool)),
        st.tuples(st.just("upsert"), keys, cells),
        st.tuples(st.just("move"), keys, cells),
        st.tuples(st.just("append"), keys, cells),
    ),
    min_size=1,
    max_size=8,
)


def apply(model: dict[int, Row], operation: str, named: list[int], values: Row) -> tuple[str, list[Row]]:
    """Do to a dict what is done to the dataset; return the operation and its rows."""
    if operation == "delete":
        for key in named:
            model.pop(key, None)
        return operation, [{"id": key} for key in named]
    if operation == "complete":
        there = [key for key in named if key in model]
        for key in there:
            model[key] = {**model[key], **{name: value for name, value in values.items() if value is not None}}
        return operation, [{"id": key, **values} for key in there]
    moved = 10 if operation == "move" else 0
    named = [key for key in named if operation != "append" or key not in model]
    rows = [loan(key, key + moved, **values) for key in named]
    model.update({row["id"]: row for row in rows})
    return ("append" if operation == "append" else "upsert"), rows


def check_content(dataset: Loans, model: dict[int, Row]) -> None:
    """A version is what the dict is: rows, sums, profile, and the last of its rows' states."""
    version, blobs = dataset.newest, dataset.blobs
    frame = read.scan(version, blobs).collect()
    assert dataset.rows() == model
    assert frame.height == version.rows == len(model)
    assert version.row_sum == (sum_rows(row_hashes(frame)) if len(model) else "0" * 32)
    profile, counted = read.read_profile(version, blobs), profile_frame(frame)
    assert profile is not None
    assert {n: (c.rows, c.nulls, c.count, c.mean) for n, c in profile.columns.items()} == {
        n: (c.rows, c.nulls, c.count, c.mean) for n, c in counted.columns.items()
    }
    last = read.stages(version, blobs).collect().group_by("id", maintain_order=True).last().select(frame.columns)
    assert last.sort("id").equals(frame.sort("id"))
    known = read.as_known_at(version, blobs, us(1000)).collect()
    assert known.sort("id").drop("paid").equals(frame.sort("id").drop("paid"))


def check_diff(dataset: Loans, before: DatasetVersion, after: DatasetVersion, old: Rows, new: Rows) -> None:
    """A diff counts what the dicts differ in."""
    found = diff_versions(before, after, dataset.blobs)
    assert (found.added_rows, found.removed_rows, found.changed_rows) == (
        len(new.keys() - old.keys()),
        len(old.keys() - new.keys()),
        sum(old[key] != new[key] for key in old.keys() & new.keys()),
    )


@settings(max_examples=25, deadline=None)
@given(steps)
def test_any_changes_leave_what_a_dict_would_hold(history: list[tuple[str, list[int], Row]]) -> None:
    with TemporaryDirectory() as folder:
        dataset = Loans(open_blob_store(folder))
        dataset.put("append", [loan(key, key) for key in (1, 2, 3)])
        dataset.put("append", [loan(key, key) for key in (4, 5)])
        model = {key: loan(key, key) for key in range(1, 6)}
        first, was = dataset.newest, dict(model)
        for number, step in enumerate(history):
            operation, rows = apply(model, *step)
            if rows:
                dataset.put(
                    operation, rows, us(100 + number), **({"corrects": True} if operation == "complete" else {})
                )
            check_content(dataset, model)
            check_diff(dataset, first, dataset.newest, was, model)
            check_diff(dataset, dataset.newest, first, model, was)


def test_a_diff_opens_only_what_was_touched(loans: Loans, blob_store: BlobStore) -> None:
    loans.put("append", [loan(key, key) for key in range(100, 105)])
    before = loans.newest
    loans.put("complete", [{"id": 101, "paid": 1.0}], us(200))
    blob_store.delete(before.fragments[0].digest)
    found = diff_versions(before, loans.newest, blob_store)
    assert (found.added_rows, found.removed_rows, found.changed_rows) == (0, 0, 1)
    assert found.samples["changed"] == [{"id": 101, "changes": {"paid": {"before": None, "after": 1.0}}}]
    assert {change.column for change in found.statistics} == {"paid"}


def test_a_completed_column_costs_its_own_bytes(blob_store: BlobStore) -> None:
    wide = (
        pl.DataFrame({"id": range(20_000)})
        .with_columns(
            at=pl.lit(START).cast(DTYPES["at"]), paid=pl.lit(None, pl.Float64), note=pl.col("id").hash().cast(pl.String)
        )
        .with_columns(paid_at=pl.lit(None, DTYPES["at"]))
    )
    dataset = Loans(blob_store)
    dataset.change("append", wide)
    (whole,) = dataset.newest.fragments
    dataset.change("complete", pl.DataFrame({"id": range(0, 20_000, 100), "paid": 1.0}), us(5))
    came = dataset.newest.fragments[1]
    assert (came.kind, came.rows, came.targets) == ("cells", 200, [(1, 0)])
    assert came.size_bytes < whole.size_bytes / 40
    assert dataset.changed == 200
    assert read.scan(dataset.newest, blob_store, ["paid"]).collect()["paid"].sum() == 200


def test_what_fills_a_gap_was_known_when_it_says_so_and_a_correction_when_it_came(loans: Loans) -> None:
    loans.put("complete", [{"id": 1, "paid": 1.0, "paid_at": hours(20)}, {"id": 2, "paid": 0.0}], us(50))
    assert loans.as_known(19)[1]["paid"] is None
    assert loans.as_known(20)[1]["paid"] == 1.0
    assert (loans.as_known(49)[2]["paid"], loans.as_known(50)[2]["paid"]) == (None, 0.0)
    loans.put("complete", [{"id": 1, "paid": 0.0}], us(90), corrects=True)
    assert (loans.as_known(89)[1]["paid"], loans.as_known(90)[1]["paid"]) == (1.0, 0.0)
    assert loans.as_known(3).keys() == {1, 2, 3}
    assert loans.rows()[1]["paid"] == 0.0


def test_rows_may_tell_themselves_when_their_values_became_known(loans: Loans) -> None:
    loans.change(
        "complete",
        frame_of([{"id": 3, "note": "late"}]).with_columns(seen=pl.lit(hours(30)).cast(DTYPES["at"])),
        us(50),
        known_at="seen",
    )
    assert "seen" not in read.scan(loans.newest, loans.blobs).collect_schema()
    stages = read.stages(loans.newest, loans.blobs, ["id", "note"]).collect().filter(pl.col("id") == 3)
    assert stages[layers.KNOWN + "note"].to_list() == [None, us(30)]
    assert stages[layers.SUPERSEDED + "note"].to_list() == [us(30), None]
    for wrong in ("note", "nothing"):
        with pytest.raises(InvalidInput, match="nobody can tell when"):
            loans.put("complete", [{"id": 4, "note": "x"}], us(50), known_at=wrong)
    future = frame_of([{"id": 3, "note": "x"}]).with_columns(seen=pl.lit(hours(60)).cast(DTYPES["at"]))
    with pytest.raises(InvalidInput, match="nobody can tell when"):
        loans.change("complete", future, us(50), known_at="seen")


def test_complete_fills_gaps_and_no_more(loans: Loans) -> None:
    loans.put("complete", [{"id": 1, "paid": 1.0}], us(50))
    with pytest.raises(InvalidInput, match=r"1 rows of dataset loans have another paid in version 2: id=1") as refused:
        loans.put("complete", [{"id": 1, "paid": 0.0}, {"id": 2, "paid": 0.0}], us(60))
    assert "corrections" in str(refused.value.next_step)
    with pytest.raises(
        InvalidInput, match=r"2 rows of dataset loans are not in version 2, so there is nothing to complete"
    ):
        loans.put("complete", [{"id": key, "paid": 0.0} for key in (1, 17, 18)], us(60))
    with pytest.raises(InvalidInput, match="say nothing but their keys"):
        loans.put("complete", [{"id": 1}], us(60))
    with pytest.raises(InvalidInput, match="have another at"):
        loans.put("complete", [{"id": 1, "at": hours(9)}], us(60), corrects=True)
    same = loans.put("complete", [{"id": 1, "paid": 1.0}, {"id": 2, "paid": None}], us(60))
    assert (same.changed, same.unchanged, len(same.newest.fragments)) == (0, 2, 2)


def test_a_new_column_may_come_by_completing(loans: Loans) -> None:
    loans.put("complete", [{"id": 1, "note": "a"}], us(50))
    frame = pl.DataFrame({"id": [1, 2], "score": [0.5, 0.25]})
    loans.change("complete", frame, us(60))
    assert [column.name for column in loans.newest.schema][-1] == "score"
    assert {key: row["score"] for key, row in loans.rows().items() if row["score"]} == {1: 0.5, 2: 0.25}
    loans.put("append", [{**loan(9, 9), "score": 1.0}])
    assert loans.rows()[9]["score"] == 1.0


def test_a_misspelt_column_does_not_come_by_completing(loans: Loans) -> None:
    with pytest.raises(InvalidInput, match=r"has no column piad.*did you mean paid\?"):
        loans.put("complete", [{"id": 1, "piad": 1.0}], us(50))
    loans.put("complete", [{"id": 1, "paid": 1.0, "piad": 1.0}], us(50))  # somebody knows both
    loans.put("complete", [{"id": 1, "paid_until": 1.0, "note2": "x"}], us(50))


def test_only_what_a_stretch_of_time_needs_is_opened(loans: Loans, blob_store: BlobStore) -> None:
    loans.put("append", [loan(key, key) for key in range(100, 105)])
    loans.put("complete", [{"id": 1, "paid": 1.0}], us(200))
    loans.put("complete", [{"id": 101, "paid": 1.0}], us(200))
    first, _, early, late = loans.newest.fragments
    for part in (first, early):
        blob_store.delete(part.digest)
    assert loans.rows(start_at=us(90))[101]["paid"] == 1.0
    assert late.kind == "cells"


def test_a_row_that_went_may_come_again(loans: Loans) -> None:
    before = loans.newest.digest
    loans.put("delete", [{"id": 2}, {"id": 99}], us(50))
    assert (loans.newest.rows, loans.unchanged) == (5, 1)
    loans.put("append", [loan(2, 2)])
    assert loans.newest.digest == before
    loans.put("complete", [{"id": 2, "paid": 1.0}], us(60))
    assert loans.rows()[2]["paid"] == 1.0


def test_a_scan_is_a_lazy_frame_like_any_other(loans: Loans, blob_store: BlobStore) -> None:
    loans.put("complete", [{"id": key, "paid": float(key % 2)} for key in range(1, 7)], us(50))
    loans.put("delete", [{"id": 5}], us(60))
    rows, frame = read.scan(loans.newest, blob_store), read.scan(loans.newest, blob_store).collect()
    is_paid = pl.col("paid") == 1
    for asked in (
        lambda each: each.head(2).filter(is_paid),
        lambda each: each.filter(is_paid).head(2),
        lambda each: each.slice(1, 3).filter(is_paid).select("id"),
        lambda each: each.tail(2).filter(is_paid),
        lambda each: each.select("note", "id").filter(pl.col("id") > 3),
    ):
        assert asked(rows).collect().equals(asked(frame))
        assert asked(rows).collect(engine="streaming").equals(asked(frame))
    assert read.scan(loans.newest, blob_store, ["id", "id"]).collect().columns == ["id"]


def test_a_new_column_may_come_without_a_value(loans: Loans) -> None:
    frame = pl.DataFrame({"id": [1], "note": ["a"], "score": pl.Series([None], dtype=pl.Float64)})
    loans.change("complete", frame, us(50))
    profile = read.read_profile(loans.newest, loans.blobs)
    assert profile is not None
    assert (profile.columns["score"].rows, profile.columns["score"].nulls) == (6, 6)


def test_names_that_versions_keep_for_themselves_are_refused(loans: Loans) -> None:
    for name in (layers.PLACE, layers.KNOWN + "paid", layers.STAGE):
        with pytest.raises(InvalidInput, match="named like one of the platform's own"):
            loans.change("complete", pl.DataFrame({"id": [1], name: [1]}), us(50))
    loans.change("complete", pl.DataFrame({"id": [1], "__index_level_0__": [1]}), us(50))


def test_a_value_ends_with_the_first_that_came_after_it(loans: Loans) -> None:
    """Whatever other columns changed between, and whenever the later one says that it was known."""
    for at, rows in ((100, {"paid": 1.0}), (100, {"note": "a"}), (90, {"paid": 2.0}), (80, {"paid": 3.0})):
        given = frame_of([{"id": 1, **rows}]).with_columns(seen=pl.lit(hours(at)).cast(DTYPES["at"]))
        loans.change("complete", given, us(200), corrects=True, known_at="seen")
    stages = read.stages(loans.newest, loans.blobs, ["id", "paid", "note"]).collect().filter(pl.col("id") == 1)
    assert stages["paid"].to_list() == [None, 1.0, 1.0, 2.0, 3.0]
    assert stages[layers.SUPERSEDED + "paid"].to_list() == [us(80), us(80), us(80), us(80), None]
    assert stages[layers.SUPERSEDED + "note"].to_list() == [us(100), us(100), None, None, None]
