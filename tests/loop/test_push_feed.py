"""Rows that are pushed become versions of a dataset that takes them, each once, whatever the order they come in."""

from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.data import CheckSpec, DatasetSpec, read
from loopwright.kernel.clock import HOUR_US, MINUTE_US
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.loop import jobs as _jobs  # noqa: F401 - the worker's part of the room
from loopwright.loop import push_feeding
from loopwright.store import compacting as _compacting  # noqa: F401 - another
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.streams import PUSHES
from tests.inprocess import InProcessWorker
from tests.loop.conftest import PROJECT, Loop

TAKING = [msgspec.structs.replace(PROJECT.datasets[0], takes_pushes=True)]
UTC = pl.Datetime("us", "UTC")


class Pushed:
    """A project to whose dataset a gateway's rows come, and what it says."""

    def __init__(self, loop: Loop, worker: InProcessWorker, datasets: list[DatasetSpec]) -> None:
        self.loop, self.worker = loop, worker
        self.seq = 0
        loop.apply(datasets=datasets)

    def append(self, **more: pl.Series) -> None:
        """Make a version of F1, with more columns."""
        at = pl.Series([self.loop.wall.at_us]).cast(UTC)
        rows = pl.DataFrame({"id": ["F1"], "carrier": ["UA"], "is_late": [True]})
        body = BytesIO()
        rows.with_columns(scheduled_at=at, landed_at=at, **more).write_parquet(body)
        self.loop("data.start_import", dataset="flights", blobs=[self.loop.blobs.put(body.getvalue())])
        self.worker.run_all()

    def push(self, *rows: dict[str, Any], at_us: int | None = None, writer: str = "w") -> None:
        """Log rows as a gateway does that took them at a moment."""
        self.seq += 1
        at = self.loop.wall.at_us if at_us is None else at_us
        self.loop.wall.at_us = max(self.loop.wall.at_us, at)
        usual = {"carrier": "UA", "is_late": None, "landed_at": None, "scheduled_at": at}
        frame = pl.DataFrame([{**usual, **row} for row in rows])
        frame = frame.with_columns(
            pl.col("is_late").cast(pl.Boolean),
            pl.col("landed_at").cast(UTC),
            pl.col("scheduled_at").cast(UTC),
            pl.format("push_{}_{}", pl.lit(f"{self.seq:05}"), pl.int_range(pl.len())).alias("push_id"),
            pl.lit(at).alias("event_at"),
            pl.lit(at).alias("recorded_at"),
        )
        typed = PUSHES.typed(frame).sort("push_id")
        blob = self.loop.blobs.put(pack_rows(typed))
        chunk = describe_chunk(typed, blob, kind="pushes", stream="flights", writer=writer, seq=self.seq)
        self.loop.service("chunks.register", chunks=[chunk])

    def hour(self) -> None:
        self.loop.pass_time(HOUR_US + 1)
        self.work()

    def work(self) -> None:
        for _ in range(14):
            self.worker.run_all()
            self.loop.pass_time(2)

    @property
    def versions(self) -> list[tuple[int, str, int]]:
        found = self.loop("data.versions", dataset="flights")
        return [(each.version, each.operation, each.rows) for each in reversed(found)]

    @property
    def says(self) -> dict[str, Any]:
        version = self.loop("data.get_version", dataset="flights")
        return dict(read.scan(version, self.loop.blobs, ["id", "is_late"]).collect().rows())

    def known(self, at_us: int) -> dict[str, Any]:
        version = self.loop("data.get_version", dataset="flights")
        return dict(read.as_known_at(version, self.loop.blobs, at_us, ["id", "carrier"]).collect().rows())


@pytest.fixture
def pushed(loop: Loop, blob_store: BlobStore, tmp_path: Path) -> Pushed:
    return Pushed(loop, InProcessWorker(loop.dispatcher, blob_store, tmp_path, loop.wall), TAKING)


@pytest.fixture
def untaken(loop: Loop, blob_store: BlobStore, tmp_path: Path) -> Pushed:
    return Pushed(loop, InProcessWorker(loop.dispatcher, blob_store, tmp_path, loop.wall), PROJECT.datasets)


def test_what_is_pushed_becomes_a_version_each_hour(pushed: Pushed) -> None:
    pushed.push({"id": "F1", "is_late": True}, {"id": "F2"})
    pushed.hour()
    assert (pushed.versions, pushed.says) == ([(1, "upsert", 2)], {"F1": True, "F2": None})
    assert pushed.worker.sealed[-1].kinds == ("pushes",)
    pushed.hour()
    assert len(pushed.versions) == 1
    pushed.push({"id": "F3", "is_late": False})
    pushed.hour()
    assert pushed.says == {"F1": True, "F2": None, "F3": False}


def test_a_row_that_comes_twice_counts_once(pushed: Pushed) -> None:
    row = {"id": "F1", "scheduled_at": pushed.loop.wall.at_us}
    pushed.push(row)
    pushed.push(row)
    pushed.hour()
    pushed.push(row)
    pushed.hour()
    assert [rows for _, _, rows in pushed.versions] == [1]


def test_each_state_of_a_row_stays_known_from_when_it_was_pushed(pushed: Pushed) -> None:
    at = pushed.loop.wall.at_us
    for minutes, carrier in ((0, "UA"), (5, "AA"), (9, "DL")):
        when = at + minutes * MINUTE_US
        pushed.push({"id": "F1", "carrier": carrier, "scheduled_at": at}, at_us=when)
    pushed.hour()
    assert [operation for _, operation, _ in pushed.versions] == ["upsert"] * 3
    assert [pushed.known(at + minutes * MINUTE_US)["F1"] for minutes in (4, 5, 8, 9)] == ["UA", "AA", "AA", "DL"]


def test_what_lay_in_a_spool_does_not_take_the_place_of_what_came_later(pushed: Pushed) -> None:
    at = pushed.loop.wall.at_us
    pushed.push({"id": "F1", "carrier": "UA", "scheduled_at": at}, at_us=at)
    pushed.hour()
    pushed.push({"id": "F1", "carrier": "DL", "scheduled_at": at}, at_us=at + 30 * MINUTE_US)
    pushed.hour()
    pushed.push({"id": "F1", "carrier": "AA", "scheduled_at": at}, at_us=at + 10 * MINUTE_US, writer="was down")
    pushed.hour()
    assert pushed.known(pushed.loop.wall.at_us)["F1"] == "DL"


def test_nor_of_what_brought_the_row(pushed: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rows do not say when they were pushed: neither those of a first version, nor new ones, nor moved ones."""
    monkeypatch.setattr(push_feeding, "MOST_CHUNKS", 2)
    for name, is_moved in (("F1", False), ("F2", False), ("F3", True)):
        at = pushed.loop.wall.at_us
        if is_moved:
            pushed.push({"id": name, "scheduled_at": at - HOUR_US})
            pushed.hour()
            at = pushed.loop.wall.at_us
        pushed.push({"id": f"{name}-1"})
        pushed.push({"id": name, "carrier": "AA", "scheduled_at": at}, at_us=at + 30 * MINUTE_US)
        pushed.push({"id": f"{name}-2"}, at_us=at + 40 * MINUTE_US)
        pushed.hour()
        late = [{"id": each, "carrier": "UA", "scheduled_at": at} for each in (name, f"{name}-3")]
        pushed.push(*late, at_us=at + 10 * MINUTE_US, writer="was down")
        pushed.hour()
        known = pushed.known(pushed.loop.wall.at_us)
        assert (known[name], known[f"{name}-3"]) == ("AA", "UA")


def test_a_row_that_was_known_earlier_does_not_take_the_place_of_a_newer_one(pushed: Pushed) -> None:
    at = pushed.loop.wall.at_us
    newer = {"id": "F1", "is_late": True, "landed_at": at + 9 * MINUTE_US, "scheduled_at": at}
    pushed.push(newer, at_us=at + 10 * MINUTE_US)
    pushed.push({**newer, "is_late": False, "landed_at": at + 8 * MINUTE_US}, at_us=at + 11 * MINUTE_US, writer="other")
    pushed.hour()
    assert pushed.says == {"F1": True}
    version = pushed.loop("data.get_version", dataset="flights")
    assert read.scan(version, pushed.loop.blobs, ["landed_at"]).collect().item().minute == 9


def test_more_than_one_import_takes_follows_at_once(pushed: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_feeding, "MOST_ROWS", 2)
    for number in range(5):
        pushed.loop.wall.at_us += 1
        pushed.push({"id": f"A{number}"}, {"id": f"B{number}"})
    pushed.hour()
    assert len(pushed.says) == 10
    assert len(pushed.versions) == 5


def test_of_many_states_the_first_and_the_last_are_kept(pushed: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_feeding, "MOST_STATES", 3)
    at = pushed.loop.wall.at_us
    for number in range(6):
        pushed.push({"id": "F1", "carrier": f"C{number}", "scheduled_at": at}, at_us=at + number)
    pushed.hour()
    assert [pushed.known(at + number)["F1"] for number in range(6)] == ["C0", "C1", "C1", "C1", "C1", "C5"]


def test_a_chunk_that_is_stored_by_an_older_clock_is_taken_all_the_same(pushed: Pushed) -> None:
    pushed.push({"id": "F1"})
    pushed.hour()
    pushed.loop.wall.at_us -= 2 * HOUR_US
    pushed.push({"id": "F2"})
    pushed.loop.wall.at_us += 2 * HOUR_US
    pushed.hour()
    assert set(pushed.says) == {"F1", "F2"}


def test_a_chunk_whose_call_began_before_the_last_that_was_read_is_not_passed_over(
    pushed: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = push_feeding._one_of_each_state

    def meanwhile(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
        monkeypatch.undo()
        pushed.loop.wall.at_us, now = read_at - 1, pushed.loop.wall.at_us
        pushed.push({"id": "F2"})
        pushed.loop.wall.at_us = now
        return look(rows, key)

    pushed.push({"id": "F1"})
    read_at = pushed.loop.wall.at_us
    monkeypatch.setattr(push_feeding, "_one_of_each_state", meanwhile)
    pushed.hour()
    assert set(pushed.says) == {"F1", "F2"}


def test_who_asks_twice_at_a_moment_of_a_clock_that_stands_gets_what_came_between(pushed: Pushed) -> None:
    for name in ("F1", "F2"):
        pushed.push({"id": name})
        pushed.loop("loop.take_pushes", dataset="flights")
        pushed.worker.run_all()
        assert name in pushed.says


def test_who_applies_again_and_again_does_not_put_off_what_comes_every_hour(pushed: Pushed) -> None:
    pushed.push({"id": "F1"})
    for column in ("id", "carrier", "scheduled_at"):
        pushed.loop.pass_time(HOUR_US // 2)
        checks = [CheckSpec("not_null", column, severity="warn")]
        pushed.loop.apply(datasets=[msgspec.structs.replace(TAKING[0], checks=checks)])
    pushed.work()
    assert set(pushed.says) == {"F1"}


def test_what_was_taken_is_not_merged_with_what_was_not(pushed: Pushed) -> None:
    for number in range(4):
        pushed.push({"id": f"A{number}"})
    pushed.hour()
    for number in range(9):
        pushed.push({"id": f"B{number}"}, at_us=pushed.loop.wall.at_us - HOUR_US)
    pushed.loop.wall.at_us += 20 * MINUTE_US
    pushed.loop("chunks.start_compaction")
    pushed.worker.run_all()
    pushed.hour()
    assert len(pushed.says) == 13
    assert [rows for _, _, rows in pushed.versions] == [4, 13]


def test_a_feed_that_ran_twice_takes_once(pushed: Pushed) -> None:
    pushed.push({"id": "F1"})
    feed = pushed.loop.service("loop.push_feed", dataset="flights")
    done = {"dataset": "flights", "since": feed.until, "until": pushed.loop.wall.at_us, "waited": "", "waiting": None}
    done |= {"rows": None, "chunks": 1}
    pushed.loop.service("loop.finish_push_feed", **done, has_more=False, reason="once")
    assert pushed.loop.service("loop.finish_push_feed", **done, has_more=True, reason="twice") is None
    assert pushed.loop.service("loop.push_feed", dataset="flights").has_more is False


def test_what_was_appended_before_is_not_taken_again(untaken: Pushed) -> None:
    untaken.push({"id": "F1"})
    untaken.append()
    untaken.loop.wall.at_us += MINUTE_US
    untaken.loop.apply(datasets=TAKING)
    untaken.push({"id": "F2"})
    untaken.hour()
    assert untaken.says == {"F1": True, "F2": None}


@pytest.mark.parametrize(("said", "hour"), [("2013-07-01T10:00:00Z", 10), ("2013-07-01 10:00", 8), ("in July", None)])
def test_moments_that_came_as_texts_are_those_of_the_dataset(said: str, hour: int | None, untaken: Pushed) -> None:
    loop = untaken.loop
    untaken.append(gone_at=pl.Series([loop.wall.at_us]).cast(UTC))
    loop.wall.at_us += MINUTE_US
    source = msgspec.structs.replace(TAKING[0].source, zone="Europe/Berlin")
    loop.apply(datasets=[msgspec.structs.replace(TAKING[0], source=source)])
    untaken.push({"id": "F2", "gone_at": said}, {"id": "F3", "gone_at": None})
    untaken.hour()
    version = loop("data.get_version", dataset="flights")
    found = dict(read.scan(version, loop.blobs, ["id", "gone_at"]).collect().rows())
    if hour is None:
        (failed,) = loop("jobs.list", states=["failed"])
        assert "gone_at is String" in failed.error["message"]
    else:
        assert (found["F2"].hour, found["F3"]) == (hour, None)


def test_a_dataset_that_takes_nothing_any_more_holds_back_no_merging(pushed: Pushed) -> None:
    pushed.push({"id": "F1"})
    pushed.hour()
    pushed.loop.apply()
    for number in range(9):
        pushed.push({"id": f"B{number}"})
    pushed.loop.wall.at_us += 20 * MINUTE_US
    pushed.loop("chunks.start_compaction")
    (merged,) = [job for job in pushed.worker.run_all() if job.kind == "chunks.compact"]
    assert merged.result == {"before": 9, "after": 1, "rows": 9}


def test_a_column_without_a_value_so_far_takes_any(pushed: Pushed) -> None:
    pushed.push({"id": "F1", "gate": None})
    pushed.hour()
    pushed.push({"id": "F2", "gate": 5.5})
    pushed.hour()
    version = pushed.loop("data.get_version", dataset="flights")
    assert dict(read.scan(version, pushed.loop.blobs, ["id", "gate"]).collect().rows()) == {"F1": None, "F2": 5.5}


def test_nothing_is_lost_with_a_row_that_fits_no_column(pushed: Pushed) -> None:
    pushed.push({"id": "F1", "gate": 7})
    pushed.hour()
    pushed.push({"id": "F2", "gate": "seven"}, {"id": "F3", "gate": "8"})
    pushed.hour()
    pushed.push({"id": "F4", "gate": 9})
    pushed.hour()
    assert set(pushed.says) == {"F1"}
    (failed,) = pushed.loop("jobs.list", states=["failed"])
    with pytest.raises(Conflict, match=f"could not be imported by job {failed.job_id}"):
        pushed.loop("loop.take_pushes", dataset="flights")
    pushed.loop("jobs.dismiss", job_id=failed.job_id, reason="whoever sent it has corrected it")
    pushed.hour()
    assert set(pushed.says) == {"F1", "F4"}


def test_what_is_quarantined_holds_back_what_came_after_it(pushed: Pushed) -> None:
    late = [CheckSpec("not_null", "carrier")]
    pushed.loop.apply(datasets=[msgspec.structs.replace(TAKING[0], checks=late)])
    pushed.push({"id": "F1"})
    pushed.hour()
    pushed.push({"id": "F2", "carrier": None})
    pushed.hour()
    pushed.push({"id": "F3"})
    pushed.hour()
    assert set(pushed.says) == {"F1"}
    pushed.loop("data.release_quarantine", dataset="flights", version=2, reason="a ferry")
    pushed.hour()
    assert set(pushed.says) == {"F1", "F2", "F3"}


def test_a_first_version_that_is_quarantined_holds_back_too(pushed: Pushed) -> None:
    checked = [msgspec.structs.replace(TAKING[0], checks=[CheckSpec("not_null", "carrier")])]
    pushed.loop.apply(datasets=checked)
    pushed.push({"id": "F1", "carrier": None})
    pushed.hour()
    pushed.push({"id": "F2"})
    pushed.hour()
    assert pushed.loop("jobs.list", states=["failed"]) == []
    with pytest.raises(Conflict, match="may be in the version that is quarantined"):
        pushed.loop("loop.take_pushes", dataset="flights")
    pushed.loop("data.release_quarantine", dataset="flights", version=1, reason="a ferry")
    pushed.hour()
    assert set(pushed.says) == {"F1", "F2"}


def test_a_row_is_not_known_before_it_was_pushed(pushed: Pushed) -> None:
    at = pushed.loop.wall.at_us
    pushed.push({"id": "F1", "carrier": "UA", "scheduled_at": at})
    pushed.hour()
    pushed.loop("loop.take_pushes", dataset="flights")  # and no worker is there
    pushed.loop.wall.at_us += 50 * MINUTE_US
    pushed.push({"id": "F1", "carrier": "AA", "scheduled_at": at})
    came_at = pushed.loop.wall.at_us
    pushed.work()
    assert (pushed.known(came_at - 1)["F1"], pushed.known(came_at)["F1"]) == ("UA", "AA")


def test_columns_that_look_like_those_of_the_log_pass(pushed: Pushed) -> None:
    pushed.push({"id": "F1", "raw.x": 1, "x": 2})
    pushed.hour()
    version = pushed.loop("data.get_version", dataset="flights")
    assert read.scan(version, pushed.loop.blobs, ["raw.x", "x"]).collect().rows() == [(1, 2)]


def test_it_can_be_asked_for(pushed: Pushed) -> None:
    pushed.push({"id": "F1"})
    pushed.loop("loop.take_pushes", dataset="flights")
    pushed.work()
    assert set(pushed.says) == {"F1"}


def test_a_dataset_that_takes_nothing_says_how_it_would(loop: Loop) -> None:
    loop.apply()
    with pytest.raises(InvalidInput, match="becomes no version") as refused:
        loop("loop.take_pushes", dataset="flights")
    assert "takes_pushes=True" in str(refused.value.next_step)


def test_features_have_seen_what_was_pushed(pushed: Pushed) -> None:
    pushed.push({"id": "F1"})
    pushed.hour()
    assert not [job for job in pushed.loop("jobs.list") if job.kind == "features.materialize"]


def test_rows_that_were_not_taken_are_kept(pushed: Pushed) -> None:
    pushed.push({"id": "F1"})
    pins = pushed.loop("retention.set", kind="pushes", stream="flights", keep="1d", reason="short")
    del pins
    pushed.loop.wall.at_us += 3 * 24 * HOUR_US
    pushed.loop.service("retention.apply")
    pushed.work()
    pushed.hour()
    assert set(pushed.says) == {"F1"}
