"""A push is in the log and in the features, or in neither."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.features import BoundView, ColumnViewSpec, DatasetPushSpec, online
from loopwright.gateway.log.batches import Batch
from loopwright.gateway.stamps import Stamp
from loopwright.gateway.taking.pushes import PushTarget
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import InvalidInput, StepFailed, StorageFull, TooLarge

NOON = parse_moment("2026-03-01T12:00:00Z")
STAMP = Stamp.now(NOON)
SPEC = DatasetPushSpec("weather", ["origin"], "observed_at", {}, None, {"origin": "String", "temp": "Float64"})


def code(name: str) -> CodeRef:
    return CodeRef(digest_bytes(b"code"), "weather", name, digest_bytes(name.encode()))


def view(key: str, spec: DatasetPushSpec) -> BoundView:
    return BoundView(key, ColumnViewSpec(key, "weather", "origin", ["temp"]), spec, {"temp": "temp"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[online.OnlineStore]:
    opened = online.open_online_store(str(tmp_path / "online.sqlite"))
    yield opened
    opened.close()


def target(store: online.OnlineStore, views: list[BoundView], spec: DatasetPushSpec = SPEC) -> PushTarget:
    comma = pl.col("temp").str.replace(",", ".").cast(pl.Float64)
    functions = {
        "warmer": lambda frame: frame.with_columns(pl.col("temp") + 1),
        "broken": lambda frame: 1 / 0,
        "forgetful": lambda frame: None,
        "decimals": lambda frame: frame.with_columns(comma),
        "capitals": lambda frame: frame.with_columns(pl.col("origin").str.to_uppercase()),
    }
    return PushTarget(spec, views, lambda ref: functions[ref.qualname], store)


def temp(store: online.OnlineStore, bound: BoundView) -> float:
    return float(store.lookup([bound], {"origin": ["JFK"]}, [NOON]).columns["temp"][0])


ROW = {"origin": "JFK", "observed_at": "2026-03-01T11:00:00Z", "temp": 4.5}


def test_rows_that_the_log_does_not_take_are_in_no_feature(store: online.OnlineStore) -> None:
    bound = view("a", SPEC)
    pushes = target(store, [bound])

    def full(batch: Batch) -> None:
        raise StorageFull("the disk is full")

    with pytest.raises(StorageFull):
        pushes.commit(pushes.prepare([ROW], STAMP), NOON, full)
    assert temp(store, bound) != temp(store, bound)
    kept: list[Batch] = []
    pushes.commit(pushes.prepare([ROW], STAMP), NOON, kept.append)
    assert temp(store, bound) == 4.5
    assert kept[0].rows == 1


def test_a_transform_that_raises_takes_nothing_from_the_others(store: online.OnlineStore) -> None:
    specs = [DatasetPushSpec("weather", ["origin"], "observed_at", {}, code(name)) for name in ("warmer", "broken")]
    views = [view("warm", specs[0]), view("broken", specs[1])]
    pushes = target(store, views, specs[0])
    with pytest.raises(StepFailed, match="ZeroDivisionError"):
        pushes.prepare([ROW], STAMP)
    assert temp(store, views[0]) != temp(store, views[0])
    healthy = target(store, views[:1], specs[0])
    healthy.commit(healthy.prepare([ROW], STAMP), NOON, lambda batch: None)
    assert temp(store, views[0]) == 5.5


def test_a_transform_that_returns_no_frame_is_told_so(store: online.OnlineStore) -> None:
    forgetful = DatasetPushSpec("weather", ["origin"], "observed_at", {}, code("forgetful"), SPEC.dtypes)
    with pytest.raises(StepFailed, match=r"transform of weather .*NoneType is no frame"):
        target(store, [view("none", forgetful)], forgetful).prepare([ROW], STAMP)


def test_a_transform_that_changes_a_columns_kind_is_given_what_was_sent(store: online.OnlineStore) -> None:
    spec = msgspec.structs.replace(SPEC, transform=code("decimals"))
    bound = view("a", spec)
    pushes = target(store, [bound], spec)
    kept: list[Batch] = []
    pushes.commit(pushes.prepare([{**ROW, "temp": "4,5"}], STAMP), NOON, kept.append)
    assert temp(store, bound) == 4.5
    later = {**ROW, "observed_at": "2026-03-01T11:30:00Z", "temp": None}
    pushes.commit(pushes.prepare([later], STAMP), NOON, kept.append)
    assert temp(store, bound) != temp(store, bound)
    assert [dict(batch.layout.columns)["temp"] for batch in kept] == ["str", "str"]


def test_a_kind_that_the_transform_leaves_wrong_is_refused(store: online.OnlineStore) -> None:
    spec = msgspec.structs.replace(SPEC, transform=code("capitals"))
    pushes = target(store, [view("a", spec)], spec)
    with pytest.raises(InvalidInput, match="does not fit") as refused:
        pushes.prepare([{**ROW, "temp": None}, {**ROW, "temp": "warm"}], STAMP)
    assert refused.value.field == "rows[1].temp"


def test_the_same_stamp_names_the_same_rows(store: online.OnlineStore) -> None:
    pushes = target(store, [])
    first, again = (pushes.prepare([ROW, {**ROW, "origin": "LGA"}], STAMP).batch for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"temp": True}, "rows[0].temp"),
        ({"temp": 2**53 + 1}, "rows[0].temp"),
        ({"temp": "warm"}, "rows[0].temp"),
        ({"extra": []}, "rows[0].extra"),
        ({"extra": {"a": 1}}, "rows[0].extra"),
        ({"extra": 2**70}, "rows[0].extra"),
        ({"origin": "J\0K"}, "rows[0].origin"),
        ({"origin": None}, "rows[0].origin"),
        ({"observed_at": 1_772_366_400}, "rows[0].observed_at"),
        ({"observed_at": "2026-03-01"}, "rows[0].observed_at"),
        ({"observed_at": None}, "rows[0].observed_at"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(store: online.OnlineStore, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        target(store, [view("a", SPEC)]).prepare([{**ROW, **change}], STAMP)
    assert refused.value.field == field


def test_a_whole_number_is_one_however_it_is_written(store: online.OnlineStore) -> None:
    spec = DatasetPushSpec("weather", ["origin"], "observed_at", {}, None, {"gusts": "Int64", "temp": "Float64"})
    batch = target(store, [], spec).prepare([{**ROW, "gusts": 3.0, "temp": 4}], STAMP).batch
    logged = dict(zip((name for name, _ in batch.layout.columns), batch.columns, strict=True))
    assert (logged["gusts"], logged["temp"]) == ([3], [4.0])
    with pytest.raises(InvalidInput):
        target(store, [], spec).prepare([{**ROW, "gusts": 3.5}], STAMP)


def test_rows_with_too_many_columns_are_refused(store: online.OnlineStore) -> None:
    with pytest.raises(TooLarge, match="too many columns"):
        target(store, []).prepare([{**ROW, f"c{number}": 1} for number in range(2_000)], STAMP)


@pytest.mark.parametrize(
    ("moment", "now_us"),
    [("0001-01-01T00:00:00Z", NOON), ("2126-01-01T00:00:00Z", NOON), ("0001-01-01T00:00:00Z", None)],
)
def test_a_moment_out_of_reach_is_refused_also_where_no_view_looks(
    store: online.OnlineStore, moment: str, now_us: int | None
) -> None:
    pushes = target(store, [])
    kept: list[Batch] = []
    with pytest.raises(InvalidInput) as refused:
        pushes.commit(pushes.prepare([ROW, {**ROW, "observed_at": moment}], STAMP), now_us, kept.append)
    assert refused.value.field == "rows[1].observed_at"
    assert kept == []


@pytest.mark.parametrize("values", [[1.5, "N"], ["N", 1.5], [None, True, 1], [1, None, "1"]])
def test_a_column_of_several_kinds_is_refused(store: online.OnlineStore, values: list[Any]) -> None:
    rows = [{**ROW, "wind": value} for value in values]
    with pytest.raises(InvalidInput, match="another kind of value"):
        target(store, []).prepare(rows, STAMP)
    mixed = target(store, []).prepare([{**ROW, "wind": value} for value in (1, None, 2.5)], STAMP).batch
    assert dict(zip((name for name, _ in mixed.layout.columns), mixed.columns, strict=True))["wind"] == [1.0, None, 2.5]
