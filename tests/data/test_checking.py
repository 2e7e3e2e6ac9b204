"""Checks apart from the worker: they find the same, and what ends them ends one import, with the name of the check."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.data import CheckSpec, DatasetSpec, SourceSpec, checking, quality
from loopwright.data.checking import ChecksApart, check_here, values_among
from loopwright.data.quality import Around
from loopwright.kernel.errors import InvalidInput
from loopwright.pipelines import ChildPool
from loopwright.wire.endings import ReaderEnded
from tests.data.conftest import put_frame
from tests.inprocess import InProcessWorker, read_here

Call = Callable[..., Any]
ENDLESS = CheckSpec("matches", "text", {"pattern": "[abc]*a[ab]{1000}[^ab][ab]*c[abc]*[xyz]?"})
"""A second for each text of a hundred kilobytes."""
HUGE = CheckSpec("holds", None, {"rule": f"length({'+'.join(['text'] * 31)}) > 0"})
"""Makes texts of thirty times the length."""


@pytest.fixture
def in_children(worker: InProcessWorker, tmp_path: Path) -> InProcessWorker:
    """A worker whose rows are checked in child processes, as those of workers are."""
    worker.children = ChildPool(tmp_path / "children", worker.blobs, most_bytes=500_000_000)
    worker.read = partial(worker.children.read, roots=[])
    return worker


def spec_of(*checks: CheckSpec, **changes: Any) -> DatasetSpec:
    return DatasetSpec("texts", SourceSpec("frame"), ["id"], checks=list(checks), **changes)


def long_texts(count: int, letters: int) -> pl.DataFrame:
    chance = random.Random(1)
    half = "".join(chance.choices("ab", k=letters // 2))
    return pl.DataFrame({"id": range(count), "text": [f"{half}c{half}"] * count})


def import_texts(call: Call, worker: InProcessWorker, frame: pl.DataFrame) -> Any:
    call("data.start_import", dataset="texts", blobs=[put_frame(worker.blobs, frame)])
    (job,) = worker.run_all()
    return job


@pytest.mark.slow
@pytest.mark.parametrize(
    ("endless", "frame", "how"),
    [
        (ENDLESS, long_texts(40, 200_000), "took longer than 3 s and was stopped at matches(text, pattern=[abc]"),
        (HUGE, long_texts(6, 4_000_000), "of memory and was stopped at holds(rule=length(text+"),
    ],
)
def test_a_check_that_fills_the_memory_or_never_ends_is_named_and_ends_its_own_import_alone(
    call: Call,
    in_children: InProcessWorker,
    monkeypatch: pytest.MonkeyPatch,
    endless: CheckSpec,
    frame: pl.DataFrame,
    how: str,
) -> None:
    """A worker does the jobs of every project: there it took a slot for minutes, or all of the memory."""
    monkeypatch.setattr(checking, "LEAST_S", 3.0 if endless is ENDLESS else 100.0)
    monkeypatch.setattr(checking, "BYTES_A_SECOND", 1 << 40)
    call("data.declare", spec=spec_of(CheckSpec("not_null", "text"), endless, CheckSpec("unique", "text")))
    job = import_texts(call, in_children, frame)
    assert (job.state, job.attempt) == ("failed", 1)
    assert how in job.error["message"]
    assert job.error["field"] == "checks[1]"
    assert "simpler check" in job.error["next_step"]
    assert call("data.versions", dataset="texts") == []
    assert call("data.import_result", job_id=job.job_id).state == "failed"
    assert import_texts(call, in_children, frame.with_columns(text=pl.lit("a")).head(1)).state != "failed"


@pytest.mark.slow
def test_checks_end_as_soon_as_nobody_wants_them(call: Call, in_children: InProcessWorker) -> None:
    looks: list[bool] = []

    def should_stop() -> bool:
        looks.append(True)
        return len(looks) > 8  # by then the rows are read and checks have begun

    in_children.read = partial(in_children.read, should_stop=should_stop)
    call("data.declare", spec=spec_of(ENDLESS))
    job = import_texts(call, in_children, long_texts(100, 200_000))
    assert "was cancelled" in job.error["message"]


@pytest.mark.slow
def test_no_check_runs_in_the_worker(call: Call, in_children: InProcessWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("in the worker")

    for name in ("run_checks", "failing_places", "failing_rows"):
        monkeypatch.setattr(quality, name, refuse)
    call("data.declare", spec=spec_of(CheckSpec("matches", "text", {"pattern": "b+"}), CheckSpec("unique", "id")))
    job = import_texts(call, in_children, pl.DataFrame({"id": [1, 2, 3], "text": ["b", "a", "b"], "more": [1, 2, 3]}))
    assert job.result["state"] == "quarantined"
    assert "text matching b+ failed for 1 of 3 rows (first: id=2)" in job.result["message"]
    version = call("data.get_version", dataset="texts", version=1)
    failing = pl.read_parquet(in_children.blobs.path(version.failing_digest))
    assert failing.to_dicts() == [{"id": 2, "text": "a", "more": 2, "failed_checks": "text matching b+"}]


class _Countries(Around):
    """What stands in other datasets and imports before, for both ways of asking."""

    def values(self, dataset: str, column: str) -> pl.Series:
        return pl.Series(column, [f"{dataset}.{column}", "de", "at"])

    def past(self, spec: CheckSpec) -> list[float]:
        return [5.0 + number / 10 for number in range(10)]

    def write_values(self, dataset: str, column: str, among: Sequence[pl.Series], out: Path) -> None:
        values_among(self.values(dataset, column).to_frame().lazy(), column, among).sink_parquet(out)


def test_what_checks_find_apart_is_what_they_find_here(worker: InProcessWorker) -> None:
    frame = pl.DataFrame(
        {
            "id": [3, 1, 2, 4, 5],
            "country": ["de", "fr", None, "at", "de"],
            "other": ["de", "xx", "xx", "xx", "de"],
            "amount": [1.5, float("nan"), None, -3.0, 9.0],
            "nothing": [None] * 5,
            "unused": ["a", "b", "c", "d", "e"],
            "at": [datetime(2025, 1, 1, hour, tzinfo=UTC) for hour in (1, 2, 5, 3, 4)],
        }
    )
    refers = {"dataset": "countries", "other_column": "code"}
    spec = spec_of(
        CheckSpec("refers_to", "country", refers),
        CheckSpec("refers_to", "other", refers, where="amount > 0"),
        CheckSpec("between", "amount", {"low": 0}, "warn"),
        CheckSpec("holds", None, {"rule": "amount < 2 or country = 'at'"}, where="country <> 'fr'"),
        CheckSpec("increasing", "at", {"columns": ["country"], "strictly": True}),
        CheckSpec("unique", "country"),
        CheckSpec("not_null", "nothing"),
        CheckSpec("usual_rows"),
        CheckSpec("usual", "amount", {"of": "mean"}, where="country = 'de'"),
        CheckSpec("fresh", None, {"within_us": 1}),
        time="at",
        personal=["country"],
    )
    here = check_here(frame, spec, 1_750_000_000_000_000, _Countries())
    apart = ChecksApart(worker, _Countries())(frame, spec, 1_750_000_000_000_000)
    assert apart.results == here.results
    assert here.failing is not None
    assert apart.failing is not None
    assert apart.failing.equals(here.failing)
    assert {result.passed for result in here.results} == {True, False}
    nothing = ChecksApart(worker, _Countries())(frame, spec_of(), 0)
    assert (nothing.results, nothing.failing) == ([], None)


VALUES = {
    "small": pl.Series([1, 2, None, -1], dtype=pl.Int8),
    "whole": pl.Series([1, 2**53 + 1, None, 2**62]),
    "positive": pl.Series([1, 2**63, 5], dtype=pl.UInt64),
    "numbers": pl.Series([1.0, 1.5, float("nan"), -0.0, 2.0**53, None, float("inf"), 0.1]),
    "short": pl.Series([1.0, 0.1, 0.0, float("nan")], dtype=pl.Float32),
    "truths": pl.Series([True, None, False]),
    "texts": pl.Series(["1", "a", None, "2020-01-01", ""]),
    "bytes": pl.Series([b"1", b"a"]),
    "days": pl.Series([date(2020, 1, 1), None]),
    "times": pl.Series([time(1)]),
    "nothing": pl.Series([None, None]),
    "local": pl.Series([datetime(2020, 1, 1, 5, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)]).dt.replace_time_zone(
        None
    ),
    "moments": pl.Series([datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 5, tzinfo=UTC)]),
    "spans": pl.Series([timedelta(1)]),
    "money": pl.Series([Decimal("1.00"), Decimal("1.10")], dtype=pl.Decimal(10, 2)),
    "finer": pl.Series([Decimal("1.000"), Decimal("0.100"), Decimal("1.105")], dtype=pl.Decimal(10, 3)),
    "lists": pl.Series([[1], [1, 2], []], dtype=pl.List(pl.Int64)),
    "words": pl.Series([["a"], [], None], dtype=pl.List(pl.String)),
}


class _Column(Around):
    """A column of another dataset: all of it here, to a child what the rows have of it."""

    def __init__(self, held: pl.Series) -> None:
        self.held = held.alias("held").drop_nulls()

    def values(self, dataset: str, column: str) -> pl.Series:
        return self.held.unique()

    def write_values(self, dataset: str, column: str, among: Sequence[pl.Series], out: Path) -> None:
        values_among(self.held.to_frame().lazy(), column, among).sink_parquet(out)


@pytest.mark.parametrize("held", VALUES)
def test_whatever_the_dtypes_a_part_of_the_other_column_is_enough(worker: InProcessWorker, held: str) -> None:
    def found(check: Callable[[pl.DataFrame, DatasetSpec, int], Any], name: str) -> Any:
        frame = VALUES[name].alias("asked").to_frame().with_row_index("id")
        try:
            return check(frame, spec_of(CheckSpec("refers_to", "asked", refers)), 0).results
        except InvalidInput as error:
            return str(error)

    refers, other = {"dataset": "others", "other_column": "held"}, _Column(VALUES[held])
    here = {name: found(partial(check_here, around=other), name) for name in VALUES}
    assert here == {name: found(ChecksApart(worker, other), name) for name in VALUES}
    assert here[held][0].passed
    nested = {"lists", "words"}
    assert all("cannot be applied" in here[name] for name in VALUES if (name in nested) != (held in nested))


def test_a_child_is_handed_what_the_rows_have_of_a_large_dataset(call: Call, worker: InProcessWorker) -> None:
    """Its memory, the disk and the time it is given would not know how large that is."""
    handed: list[list[dict[str, Any]]] = []

    def look(function: str, inputs: Any, files: dict[str, Path], *args: Any, **options: Any) -> Any:
        handed.extend(pl.read_parquet(path).to_dicts() for name, path in files.items() if name.startswith("values"))
        return read_here(function, inputs, files, *args, **options)

    worker.read = look
    call("data.declare", spec=DatasetSpec("codes", SourceSpec("frame"), ["code"]))
    codes = put_frame(worker.blobs, pl.select(code=pl.int_range(100_000).cast(pl.String)))
    call("data.start_import", dataset="codes", blobs=[codes])
    worker.run_all()
    refers = {"dataset": "codes", "other_column": "code"}
    call("data.declare", spec=spec_of(CheckSpec("refers_to", "text", refers), CheckSpec("refers_to", "more", refers)))
    rows = pl.DataFrame({"id": range(4), "text": ["7", "8", None, "7"], "more": [*"890", "none"]})
    job = import_texts(call, worker, rows)
    assert [sorted(row["code"] for row in each) for each in handed] == [[*"0789"]]
    assert job.result["message"].endswith("more one of codes.code failed for 1 of 4 rows (first: id=3)")


def test_what_a_check_names_and_rows_lack_is_told_with_what_they_have(worker: InProcessWorker) -> None:
    frame = pl.DataFrame({"id": [1], "country": ["de"]})
    with pytest.raises(InvalidInput, match=r"a column that the rows do not have.*value: county.*did you mean country"):
        ChecksApart(worker, _Countries())(frame, spec_of(CheckSpec("not_null", "county")), 0)


@pytest.mark.parametrize("said", ["", "at check 7\n", "panicked at 'at check x'"])
def test_an_end_before_any_check_names_none(worker: InProcessWorker, said: str) -> None:
    def crash(*_: Any, **__: Any) -> Any:
        raise ReaderEnded("the reader ended", how="ended by SIGABRT", said=said)

    worker.read = crash
    with pytest.raises(InvalidInput) as told:
        ChecksApart(worker, _Countries())(pl.DataFrame({"id": [1]}), spec_of(CheckSpec("not_null", "id")), 0)
    assert told.value.message == "the checks of dataset texts could not be finished: their process ended by SIGABRT"
    assert told.value.field == "checks"


def test_whatever_breaks_a_check_tells_no_row(worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: Any, **__: Any) -> Any:
        raise pl.exceptions.PanicException("called unwrap on 'secret'")

    monkeypatch.setattr(quality, "_judge", panic)
    with pytest.raises(InvalidInput, match="cannot be applied to these rows; field: checks; value: PanicException"):
        ChecksApart(worker, _Countries())(pl.DataFrame({"id": [1]}), spec_of(CheckSpec("not_null", "id")), 0)
