"""Labels that are sent to a deployment complete the dataset it is trained on, once, whatever comes first."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

import loopwright as lw
from loopwright.data import read
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US
from loopwright.loop import feeding
from loopwright.loop import jobs as _jobs  # noqa: F401 - the worker's part of the room
from loopwright.loop.feeding import _as_column
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.streams import LABELS, PREDICTIONS
from tests.inprocess import InProcessWorker
from tests.loop.conftest import PROJECT, Loop

TAKING = [msgspec.structs.replace(PROJECT.datasets[0], takes_labels=True)]


class Feed:
    """A project whose labels come by the gateway: what is sent, and what the dataset says."""

    def __init__(self, loop: Loop, worker: InProcessWorker) -> None:
        self.loop, self.worker = loop, worker
        self.seq = 0
        loop.apply(datasets=TAKING)

    def rows(self, *keys: str, operation: str = "append", **options: Any) -> None:
        """Import rows whose outcome nobody knows, or what is said of them."""
        at = pl.Series([self.loop.wall.at_us] * len(keys)).cast(pl.Datetime("us", "UTC"))
        rows = pl.DataFrame(
            {"id": list(keys), "carrier": "UA", "is_late": pl.Series([None] * len(keys), dtype=pl.Boolean)}
        )
        self.put(rows.with_columns(scheduled_at=at, landed_at=pl.lit(None, at.dtype)), operation, **options)

    def put(self, rows: pl.DataFrame, operation: str, **options: Any) -> None:
        body = io.BytesIO()
        rows.write_parquet(body)
        blobs = [self.loop.blobs.put(body.getvalue())]
        self.loop("data.start_import", dataset="flights", operation=operation, blobs=blobs, **options)
        self.work()

    def predict(self, *keys: str | None) -> None:
        names = [f"pred_{key or 'none'}" for key in keys]
        rows = pl.DataFrame({"prediction_id": names, "row_key": pl.Series(keys, dtype=pl.String)})
        self._store("predictions", PREDICTIONS, rows.with_columns(is_shadow=pl.lit(value=False)))

    def label(self, **labels: float) -> None:
        names = [f"pred_{key}" for key in labels]
        self._store("labels", LABELS, pl.DataFrame({"prediction_id": names, "label": list(labels.values())}))

    def _store(self, kind: str, stream: Any, rows: pl.DataFrame) -> None:
        self.seq += 1
        at = self.loop.wall.at_us
        given = rows.with_columns(
            label_id=pl.format("lab_{}_{}", pl.lit(self.seq), pl.int_range(pl.len())), event_at=pl.lit(at)
        )
        given = given.with_columns(recorded_at=pl.lit(at))
        missing = [pl.lit(None).alias(name) for name in stream.names if name not in given.columns]
        typed = stream.typed(given.with_columns(missing).select(stream.names)).sort(stream.id_column)
        blob = self.loop.blobs.put(pack_rows(typed))
        chunk = describe_chunk(typed, blob, kind=kind, stream="late", writer="w", seq=self.seq)
        self.loop.service("chunks.register", chunks=[chunk])

    def work(self) -> None:
        for _ in range(4):
            self.worker.run_all()
            self.loop.reactor.drain()

    def hour(self) -> None:
        """Let an hour pass, in which labels are taken."""
        self.loop.pass_time(HOUR_US + 1)
        self.work()

    @property
    def says(self) -> dict[str, Any]:
        version = self.loop("data.get_version", dataset="flights")
        return dict(read.scan(version, self.loop.blobs, ["id", "is_late"]).collect().rows())

    @property
    def waiting(self) -> int:
        """How many labels waited after the last feed."""
        fed = [job for job in self.loop("jobs.list", states=["done"]) if job.kind == "loop.feed_labels"]
        return int((fed[0].result or {})["waiting"])

    @property
    def versions(self) -> int:
        return len(self.loop("data.versions", dataset="flights"))


@pytest.fixture
def feed(loop: Loop, blob_store: BlobStore, tmp_path: Path) -> Feed:
    return Feed(loop, InProcessWorker(loop.dispatcher, blob_store, tmp_path, loop.wall))


def test_labels_complete_the_rows_that_they_are_of(feed: Feed) -> None:
    feed.rows("F1", "F2", "F3")
    feed.predict("F1", "F2", None)
    came_at = feed.loop.wall.at_us
    feed.label(F1=1.0, F2=0.0, none=1.0)
    feed.hour()
    assert feed.says == {"F1": True, "F2": False, "F3": None}
    version = feed.loop("data.get_version", dataset="flights")
    assert (version.operation, version.reason) == ("complete", "2 labels of late")
    known = read.newest_values(version, feed.loop.blobs, "is_late").collect()
    assert dict(known.select("id", read.KNOWN_AT).rows()) == {"F1": came_at, "F2": came_at, "F3": None}
    feed.hour()
    feed.hour()
    assert feed.versions == 2


def test_a_label_waits_for_its_row(feed: Feed) -> None:
    feed.predict("F1", "F2")
    feed.label(F1=1.0, F2=1.0)
    feed.hour()
    assert feed.loop("data.versions", dataset="flights") == []
    feed.rows("F1")
    feed.loop.pass_time(3 * DAY_US)
    feed.work()
    assert feed.says == {"F1": True}
    feed.rows("F2")
    feed.hour()
    assert feed.says == {"F1": True, "F2": True}


def test_the_last_word_counts_whoever_said_it(feed: Feed) -> None:
    feed.rows("F1", "F2")
    feed.predict("F1", "F2")
    feed.label(F1=1.0, F2=1.0)
    feed.hour()
    feed.put(pl.DataFrame({"id": ["F1"], "is_late": [False]}), "complete", corrects=True)
    feed.hour()
    assert feed.says == {"F1": False, "F2": True}
    feed.label(F2=0.0)
    feed.hour()
    assert feed.says == {"F1": False, "F2": False}
    feed.label(F1=1.0)
    feed.hour()
    assert feed.says == {"F1": True, "F2": False}


def test_a_dataset_that_takes_no_labels_gets_none(feed: Feed, call: Callable[..., Any]) -> None:
    feed.rows("F1")
    feed.predict("F1")
    feed.loop.apply()
    feed.label(F1=1.0)
    feed.hour()
    feed.hour()
    assert feed.says == {"F1": None}
    feed.loop.apply(datasets=TAKING)
    feed.hour()
    assert feed.says == {"F1": True}


def test_a_feed_that_is_killed_is_done_again(feed: Feed) -> None:
    feed.rows("F1")
    feed.predict("F1")
    feed.label(F1=1.0)
    feed.loop.pass_time(HOUR_US + 1)
    (job,) = [job for job in feed.loop("jobs.list") if job.kind == "loop.feed_labels" and job.state == "queued"]
    first = feed.worker.run_job(job)
    assert feed.worker.run_job(job) == first == {"labels": 1, "waiting": 0}
    feed.work()
    assert feed.says == {"F1": True}
    assert feed.versions == 2


def test_a_label_waits_for_its_prediction_which_a_gateway_has_that_is_down(feed: Feed) -> None:
    feed.rows("F1", "F2")
    feed.predict("F2", None)
    feed.label(F1=1.0, none=1.0)
    for _ in range(30):
        feed.hour()
        feed.label(F2=1.0)
    assert feed.says == {"F1": None, "F2": True}
    feed.predict("F1")
    feed.hour()
    assert feed.says == {"F1": True, "F2": True}
    assert feed.waiting == 0, "the prediction without a key is in the log"


def test_a_label_whose_prediction_never_comes_waits_a_month(feed: Feed) -> None:
    waited = []
    feed.rows("F1", "F2")
    feed.predict("F2")
    feed.label(F1=1.0)
    for _ in range(4):
        feed.loop.pass_time(10 * DAY_US)
        feed.label(F2=1.0)
        feed.hour()
        waited.append(feed.waiting)
    assert waited == [1, 1, 1, 0]


def test_labels_that_no_version_says_are_given_again_until_one_does(feed: Feed) -> None:
    feed.rows("F1", "F2")
    feed.predict("F1", "F2")
    strict = [msgspec.structs.replace(TAKING[0], checks=[lw.check.not_null("landed_at")])]
    feed.loop.apply(datasets=strict)
    feed.label(F1=1.0)
    for _ in range(3):
        feed.loop.pass_time(2 * DAY_US)
        feed.work()
        feed.label(F2=1.0)
    assert feed.says == {"F1": None, "F2": None}, "held back by the check"
    feed.loop.apply(datasets=TAKING)
    feed.hour()
    assert feed.says == {"F1": True, "F2": True}
    count = feed.versions
    feed.hour()
    assert (feed.versions, feed.waiting) == (count, 0)


def test_a_row_that_goes_while_its_label_is_under_way_keeps_no_other_from_its_own(feed: Feed) -> None:
    feed.rows("F1", "F2")
    feed.predict("F1", "F2")
    feed.label(F1=1.0, F2=1.0)
    feed.loop.pass_time(HOUR_US + 1)
    (job,) = feed.loop("jobs.list", states=["queued"], kind="loop.feed_labels")
    feed.worker.run_job(job)
    (job,) = feed.loop("jobs.list", states=["queued"], kind="data.import")
    feed.loop("jobs.cancel", job_id=job.job_id)
    feed.put(pl.DataFrame({"id": ["F1"]}), "delete", reason="asked for")
    feed.loop.pass_time(2 * DAY_US)
    feed.work()
    assert feed.says == {"F2": True}


def test_labels_are_taken_after_a_clock_was_a_day_ahead(feed: Feed) -> None:
    feed.rows("F1", "F2")
    feed.predict("F1", "F2")
    feed.loop.wall.at_us += DAY_US
    feed.label(F1=1.0)
    feed.hour()
    feed.loop.wall.at_us -= DAY_US
    feed.label(F2=1.0)
    feed.loop.pass_time(2 * DAY_US)
    feed.work()
    assert feed.says == {"F1": True, "F2": True}


def test_rows_that_take_the_place_of_all_get_the_labels_that_those_had(feed: Feed) -> None:
    feed.rows("F1", "F2")
    feed.predict("F1", "F2")
    feed.label(F1=1.0)
    feed.loop.pass_time(3 * DAY_US)
    feed.work()
    feed.label(F2=1.0)
    feed.hour()
    assert feed.says == {"F1": True, "F2": True}
    feed.rows("F1", "F2", "F3", operation="replace")
    assert feed.says == {"F1": None, "F2": None, "F3": None}
    feed.hour()
    assert feed.says == {"F1": True, "F2": True, "F3": None}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little is held at once that every row, label and chunk is looked at by itself."""
    for name in ("MOST_ROWS", "MOST_CHUNKS"):
        monkeypatch.setattr(feeding, name, 1)


@pytest.mark.usefixtures("few")
def test_labels_are_taken_however_few_are_held_at_once(feed: Feed) -> None:
    names = [f"F{number}" for number in range(9)]
    for name in names:
        feed.rows(name)
    for name in [*names, "F9"]:
        feed.predict(name, f"{name}X")
    feed.label(**dict.fromkeys(names[:5], 1.0), none=1.0)
    feed.label(F9=1.0, **dict.fromkeys(names[3:], 0.0))
    feed.hour()
    expected = {name: name in names[:3] for name in names}
    assert (feed.says, feed.waiting) == (expected, 2)
    feed.rows("F9")
    feed.predict("none")
    feed.hour()
    assert (feed.says, feed.waiting) == (expected | {"F9": True}, 1)


@pytest.mark.usefixtures("few")
def test_the_last_of_two_labels_of_a_row_counts_though_another_prediction_got_it(feed: Feed) -> None:
    feed.rows("F1")
    feed.put(pl.DataFrame({"id": ["F1"], "is_late": [False]}), "complete")
    feed._store("predictions", PREDICTIONS, _served(pred_a="F1", pred_b="F1"))
    feed.loop.wall.at_us += 1
    feed._store("labels", LABELS, pl.DataFrame({"prediction_id": ["pred_b"], "label": [1.0]}))
    feed.loop.wall.at_us += 1
    feed._store("labels", LABELS, pl.DataFrame({"prediction_id": ["pred_a"], "label": [0.0]}))
    feed.hour()
    assert (feed.says, feed.versions) == ({"F1": False}, 2)


def _served(**keys: str) -> pl.DataFrame:
    return pl.DataFrame({"prediction_id": list(keys), "row_key": list(keys.values()), "is_shadow": False})


@pytest.mark.usefixtures("few")
def test_more_labels_than_an_import_takes_come_by_the_next(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "MOST_FED", 2)
    names = [f"F{number}" for number in range(9)]
    feed.rows(*names)
    feed.predict(*names)
    feed.label(**dict.fromkeys(names, 1.0))
    feed.hour()
    known = [sum(value is not None for value in feed.says.values())]
    while known[-1] < 9:
        feed.loop.pass_time(MINUTE_US)
        feed.work()
        known.append(sum(value is not None for value in feed.says.values()))
        assert known[-1] > known[-2], "each import is followed by another at once"
    assert len(known) > 2
    feed.loop.pass_time(MINUTE_US)
    feed.work()
    feed.loop.pass_time(MINUTE_US)
    assert not feed.loop("jobs.list", states=["queued"]), "where none is left the next comes in an hour"


@pytest.mark.usefixtures("few")
def test_a_column_without_any_outcome_takes_names_and_numbers_as_names(feed: Feed) -> None:
    names = [f"F{number}" for number in range(9)]
    nothing = {"carrier": "UA", "is_late": None, "landed_at": None}
    at = pl.lit(feed.loop.wall.at_us).cast(pl.Datetime("us", "UTC"))
    feed.put(pl.DataFrame({"id": names, **nothing}).with_columns(scheduled_at=at), "append")
    feed.predict(*names)
    feed.label(**dict.fromkeys(names[:8], 1.0))
    named = pl.DataFrame({"prediction_id": ["pred_F8"], "label_text": ["very"]})
    feed._store("labels", LABELS, named)
    feed.hour()
    assert feed.says == {**dict.fromkeys(names[:8], "1"), "F8": "very"}


def test_chunks_that_cannot_hold_what_a_label_waits_for_are_not_listed(feed: Feed) -> None:
    feed.rows("F1")
    feed.predict("A1", "A2")
    feed.predict("N0", "P0")
    feed.predict("Z1", "Z2")
    feed.label(O9=1.0)
    listed: list[str] = []
    read = feed.loop.dispatcher.call

    def call(verb: str, args: Any, **how: Any) -> Any:
        answer = read(verb, args, **how)
        if verb.startswith("chunks.find") and args["kind"] == "predictions":
            listed.extend(chunk.id_first for chunk in answer)
        return answer

    feed.loop.dispatcher.call = call  # type: ignore[method-assign]
    feed.hour()
    assert set(listed) == {"pred_N0"}


def test_rows_that_are_replaced_again_while_labels_are_read_get_theirs(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.rows("F1", "F2")
    feed.predict("F1", "F2", "F9")
    feed.label(F1=1.0, F2=0.0)
    feed.hour()
    feed.loop.pass_time(3 * DAY_US)
    feed.work()
    feed.label(F9=1.0)  # newer by more than is looked back
    feed.hour()
    for version in (1, 2):
        feed.loop("data.restore", dataset="flights", version=version, reason="to look at it")
    assert feed.says == {"F1": True, "F2": False}

    def replace(verb: str) -> None:
        if verb == "loop.finish_label_feed":
            monkeypatch.setattr(feed.worker, "before_call", lambda verb: None)
            feed.loop("data.restore", dataset="flights", version=1, reason="while the feed reads")

    monkeypatch.setattr(feed.worker, "before_call", replace)
    feed.hour()
    assert feed.says == {"F1": None, "F2": None}
    feed.hour()
    assert feed.says == {"F1": True, "F2": False}


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (pl.Boolean(), [True, False, None, None, None]),
        (pl.Int64(), [1, 0, None, 7, None]),
        (pl.Float64(), [1.0, 0.0, 12.5, 7.0, None]),
        (pl.Null(), [1.0, 0.0, 12.5, 7.0, None]),
        (pl.String(), ["1", "0", "12.5", "7", None]),
    ],
)
def test_a_label_is_what_the_column_can_hold_or_nothing(dtype: pl.DataType, expected: list[Any]) -> None:
    labels = pl.DataFrame(
        {"label": [1.0, 0.0, 12.5, 7.0, float("nan")], "label_text": pl.Series([None] * 5, dtype=pl.String)}
    )
    assert _as_column(labels, dtype).to_list() == expected
    named = pl.DataFrame({"label": pl.Series([None], dtype=pl.Float64), "label_text": ["dog"]})
    assert _as_column(named, pl.Null()).to_list() == ["dog"]


def test_a_column_without_any_outcome_so_far_takes_labels(feed: Feed) -> None:
    at = pl.Series([feed.loop.wall.at_us]).cast(pl.Datetime("us", "UTC"))
    feed.put(
        pl.DataFrame({"id": ["F1"], "carrier": ["UA"], "is_late": [None], "landed_at": [None], "scheduled_at": at}),
        "append",
    )
    feed.predict("F1")
    feed.label(F1=1.0)
    feed.hour()
    assert feed.says == {"F1": 1.0}
