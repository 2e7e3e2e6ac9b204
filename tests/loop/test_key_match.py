"""Labels that name rows become labels of the predictions for these rows, once, whatever comes first."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from loopwright.data import read
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US
from loopwright.loop import jobs as _jobs  # noqa: F401 - the worker's part of the room
from loopwright.loop import key_index, key_matching
from loopwright.serving import predictions
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.streams import KEYED_LABELS, PREDICTIONS, Stream
from loopwright.store.work import JOBS
from tests.inprocess import InProcessWorker
from tests.loop.conftest import PROJECT, Loop


class Match:
    """A deployment whose labels come by key: what is sent, and what its predictions are told to have come to."""

    def __init__(self, loop: Loop, worker: InProcessWorker) -> None:
        self.loop, self.worker, self.seq = loop, worker, 0
        loop.apply()

    def predict(
        self, *pairs: tuple[str, str | None], at_us: int | list[int] | None = None, is_shadow: bool = False
    ) -> None:
        """Log predictions: id and the key of the row."""
        names, keys = zip(*pairs, strict=True)
        rows = pl.DataFrame({"prediction_id": list(names), "row_key": pl.Series(keys, dtype=pl.String)})
        self._store(PREDICTIONS, rows.with_columns(is_shadow=pl.lit(is_shadow)), at_us)

    def label(self, at_us: int | None = None, /, **labels: float | str) -> None:
        """Tell outcomes by key."""
        numbers = [value if isinstance(value, float) else None for value in labels.values()]
        texts = [value if isinstance(value, str) else None for value in labels.values()]
        told = {"label": pl.Series(numbers, dtype=pl.Float64), "label_text": pl.Series(texts, dtype=pl.String)}
        self._store(KEYED_LABELS, pl.DataFrame({"row_key": list(labels), **told}), at_us)

    def _store(self, stream: Stream, rows: pl.DataFrame, at_us: int | list[int] | None) -> None:
        self.seq += 1
        given = rows.with_columns(
            label_id=pl.format("lab_{}_{}", pl.lit(self.seq), pl.int_range(pl.len())),
            event_at=pl.Series(at_us) if isinstance(at_us, list) else pl.lit(at_us or self.loop.wall.at_us),
            recorded_at=pl.lit(self.loop.wall.at_us),
        )
        missing = [pl.lit(None).alias(name) for name in stream.names if name not in given.columns]
        typed = stream.typed(given.with_columns(missing).select(stream.names)).sort(stream.id_column)
        blob = self.loop.blobs.put(pack_rows(typed))
        chunk = describe_chunk(typed, blob, kind=stream.kind, stream="late", writer="w", seq=self.seq)
        self.loop.service("chunks.register", chunks=[chunk])

    def pass_time(self, us: int = HOUR_US) -> None:
        """Let time pass, in which labels are matched."""
        self.loop.reactor.drain()
        self.loop.pass_time(us)
        for _ in range(4):
            self.worker.run_all()
            self.loop.reactor.drain()

    @property
    def known(self) -> dict[str, Any]:
        """The outcome of each prediction, as windows read it."""
        chunks = self.loop.service("chunks.find", kind="labels", stream="late")
        rows = predictions.latest_labels(chunks, self.loop.blobs).collect()
        return {row["prediction_id"]: row["label_text"] or row["label"] for row in rows.iter_rows(named=True)}

    @property
    def results(self) -> list[dict[str, Any]]:
        """What the jobs answered, the newest first."""
        done = self.loop("jobs.list", states=["done"], limit=1000)
        return [job.result or {} for job in done if job.kind == "loop.match_labels"]


@pytest.fixture
def match(loop: Loop, blob_store: BlobStore, tmp_path: Path) -> Match:
    return Match(loop, InProcessWorker(loop.dispatcher, blob_store, tmp_path, loop.wall))


def test_every_prediction_of_a_row_gets_its_label(match: Match) -> None:
    match.predict(("pred_a", "F1"), ("pred_b", "F2"), ("pred_c", None), ("pred_d", "F1"))
    match.predict(("pred_a", "F1"), is_shadow=True)
    match.label(F1=1.0, F3=0.0)
    match.pass_time()
    assert match.known == {"pred_a": 1.0, "pred_d": 1.0}
    assert match.results[-1] == {"labels": 2, "came": 2, "waiting": 1}


def test_nothing_is_done_where_no_label_names_a_row(match: Match) -> None:
    match.predict(("pred_a", "F1"))
    match.pass_time(DAY_US)
    assert match.results == []
    assert label_match_of(match) is None


def test_nothing_is_done_while_labels_wait_and_nothing_comes(match: Match) -> None:
    """A replay clock waits for each job."""
    match.predict(("pred_a", "F1"))
    match.label(F1=1.0, F2=1.0)
    for _ in range(6):
        match.pass_time(10 * MINUTE_US)
    assert len(match.results) == 1


def label_match_of(match: Match) -> Any:
    return match.loop.service("loop.label_match", deployment="late")


def test_predictions_that_are_told_later_are_found_for_a_month(match: Match) -> None:
    asked_at = match.loop.wall.at_us
    match.label(F1=1.0, F2=0.0)
    match.pass_time()
    match.predict(("pred_a", "F1"), at_us=asked_at - MINUTE_US)
    match.pass_time()
    assert match.known == {"pred_a": 1.0}
    match.predict(("pred_b", "F1"), ("pred_c", "F2"), at_us=asked_at - MINUTE_US)
    match.pass_time()
    assert match.known == {"pred_a": 1.0, "pred_b": 1.0, "pred_c": 0.0}
    match.pass_time(31 * DAY_US)
    match.predict(("pred_z", "F1"), at_us=asked_at - MINUTE_US)
    match.pass_time()
    assert "pred_z" not in match.known
    assert label_match_of(match).labels.waiting == ""


def test_of_many_labels_the_newest_wait(match: Match, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_matching, "MOST_WAITING", 2)
    asked_at = match.loop.wall.at_us
    match.label(F1=1.0, F2=1.0)
    match.pass_time()
    match.label(F3=0.0)
    match.pass_time()
    match.predict(("pred_a", "F1"), ("pred_b", "F2"), ("pred_c", "F3"), at_us=asked_at)
    match.pass_time()
    assert "pred_c" in match.known
    assert len(match.known) == 2


def test_a_prediction_after_the_outcome_is_not_judged_by_it(match: Match) -> None:
    match.label(F1=1.0)
    match.pass_time()
    match.predict(("pred_a", "F1"))
    match.pass_time()
    assert match.known == {}
    match.label(F1=0.0)  # a correction, which the prediction came before
    match.pass_time()
    assert match.known == {"pred_a": 0.0}


def test_the_latest_outcome_counts_whichever_is_told_first(match: Match) -> None:
    match.predict(("pred_a", "F1"), ("pred_b", "F2"))
    now = match.loop.wall.at_us
    match.label(now + 2, F1=1.0, F2="yes")
    match.pass_time()
    match.label(now + 1, F1=0.0, F2="no")
    match.pass_time()
    assert match.known == {"pred_a": 1.0, "pred_b": "yes"}
    match.label(now + 3, F1=0.0)
    match.pass_time()
    assert match.known == {"pred_a": 0.0, "pred_b": "yes"}


def test_a_match_that_others_were_faster_with_changes_nothing(match: Match) -> None:
    match.predict(("pred_a", "F1"))
    match.label(F1=1.0)
    before = label_match_of(match)
    match.pass_time()
    known, runs = match.known, label_match_of(match).runs
    told = {"labels": before.labels, "predictions": before.predictions, "waiting": None, "runs": [], "matched": []}
    read = {"keyed_labels": 0, "predictions": 0}
    assert not match.loop.service("loop.finish_label_match", before=before, read=read, **told)
    assert (match.known, label_match_of(match).runs) == (known, runs)


def test_chunks_that_came_while_a_match_ran_are_read_by_the_next(match: Match, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their calls may have begun before it and ended after it, so that they lie before what it read last."""
    match.predict(("pred_a", "F1"))
    match.label(F1=1.0)
    keep = key_matching.next_page

    def next_page(context: Any, cursor: Any, most_rows: int) -> Any:
        page = keep(context, cursor, most_rows)
        if cursor.kind == "predictions" and not found:
            found.append(page)
            match.predict(("pred_b", "F1"), at_us=match.loop.wall.at_us - DAY_US)
        return page

    found: list[Any] = []
    monkeypatch.setattr(key_matching, "next_page", next_page)
    match.pass_time()
    match.pass_time()
    assert match.known == {"pred_a": 1.0, "pred_b": 1.0}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are as many as are held at once."""
    for name, value in {"MOST_LABELS": 20, "MOST_PREDICTIONS": 40, "MOST_ROWS": 7}.items():
        monkeypatch.setattr(key_matching, name, value)
    for name, value in {"ROWS_OF_KEY": 5, "MERGED_AT": 3, "MOST_MERGED": 200}.items():
        monkeypatch.setattr(key_index, name, value)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("small")
def test_labels_are_those_that_a_loop_over_rows_finds(match: Match, seed: int) -> None:
    """Rows asked for again, told late, in any order, with corrections: as if each prediction looked for its label."""
    random = np.random.default_rng(seed)
    begin = match.loop.wall.at_us
    asked: dict[str, tuple[str, int]] = {}
    told: list[tuple[str, float, int]] = []
    for turn in range(8):
        now = match.loop.wall.at_us
        pairs = [(f"pred_{turn}_{place}", f"F{number}") for place, number in enumerate(random.integers(0, 60, 30))]
        moments = [int(at) for at in random.integers(max(begin, now - 5 * HOUR_US), now + 1, 30)]
        asked |= {name: (key, at) for (name, key), at in zip(pairs, moments, strict=True)}
        for part in (slice(0, 12), slice(12, 30)):
            match.predict(*pairs[part], at_us=moments[part])
        for key in {f"F{number}" for number in random.integers(0, 60, 8)}:
            told.append((key, float(random.integers(0, 2)), int(random.integers(now - HOUR_US, now + 1))))
            match.label(told[-1][2], **{key: told[-1][1]})
        if random.random() < 0.7:
            match.pass_time(HOUR_US)
    for _ in range(12):
        match.pass_time(10 * MINUTE_US)
    expected: dict[str, float] = {}
    for name, (key, at) in asked.items():
        of_row = [(label_at, label) for row, label, label_at in told if row == key and label_at >= at]
        if of_row:
            expected[name] = max(of_row)[1]
    assert match.known == expected
    runs = label_match_of(match).runs
    assert len(runs) < 12
    assert sum(run.rows for run in runs) == len(asked)


def test_an_index_forgets_runs_whose_predictions_are_gone(match: Match) -> None:
    match.predict(("pred_a", "F1"))
    match.label(F1=1.0)
    match.pass_time()
    first = label_match_of(match).runs
    assert [run.rows for run in first] == [1]
    match.loop("retention.set", kind="predictions", keep="1d")
    match.pass_time(3 * DAY_US)
    assert match.loop("retention.apply")
    match.predict(("pred_b", "F2"))
    match.label(F2=1.0)
    match.pass_time()
    runs = label_match_of(match).runs
    assert [run.rows for run in runs] == [1]
    assert runs[0].number > first[0].number


def test_rows_that_nobody_predicted_are_completed_too(match: Match) -> None:
    loop = match.loop
    loop.apply(datasets=[msgspec.structs.replace(PROJECT.datasets[0], takes_labels=True)])
    match.predict(("pred_a", "F1"))
    match.label(F1=1.0, F2=0.0)
    match.pass_time()
    rows = pl.DataFrame({"id": ["F1", "F2", "F3"], "carrier": "UA", "is_late": pl.Series([None] * 3, dtype=pl.Boolean)})
    at = pl.Series([loop.wall.at_us] * 3).cast(pl.Datetime("us", "UTC"))
    rows = rows.with_columns(scheduled_at=at, landed_at=pl.lit(None, at.dtype))
    blob = loop.blobs.put(pack_rows(rows))
    loop("data.start_import", dataset="flights", operation="append", blobs=[blob])
    for _ in range(3):
        match.pass_time()
    version = loop("data.get_version", dataset="flights")
    says = dict(read.scan(version, loop.blobs, ["id", "is_late"]).collect().rows())
    assert says == {"F1": True, "F2": False, "F3": None}


def merge_chunks(match: Match) -> None:
    """Have what is small and settled merged, as a server does by itself every hour."""
    match.loop("chunks.start_compaction")
    match.worker.run_all()


def test_an_index_keeps_predictions_whose_chunks_were_merged(match: Match) -> None:
    """A merged chunk was stored when the newest was that went into it, which is after the first run of the index."""
    match.label(F0=1.0)
    match.predict(("pred_a", "F1"))
    match.pass_time()
    match.predict(("pred_b", "F2"))
    match.pass_time()
    match.pass_time(3 * DAY_US)
    merge_chunks(match)
    assert len(match.loop.service("chunks.find", kind="predictions", stream="late")) == 1
    match.pass_time()
    match.label(F1=1.0, F2=0.0)
    match.pass_time()
    assert match.known == {"pred_a": 1.0, "pred_b": 0.0}


def test_predictions_are_merged_though_no_label_comes_any_more(match: Match) -> None:
    match.predict(("pred_a", "F1"))
    match.label(F1=1.0)
    match.pass_time()
    match.pass_time(2 * DAY_US)
    match.pass_time()
    for place in range(3):
        match.predict((f"pred_{place}", "F2"))
        match.pass_time()
    match.pass_time(3 * DAY_US)
    merge_chunks(match)
    assert len(match.loop.service("chunks.find", kind="predictions", stream="late")) == 2


@pytest.mark.usefixtures("small")
def test_a_long_log_is_indexed_without_a_pause(match: Match, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows is planned while the job still runs that planned it."""
    for part in range(5):
        match.predict(*((f"pred_{part}_{place}", f"F{place}") for place in range(40)))
        match.loop.wall.at_us += 1
    match.label(F1=1.0)
    keep = JOBS["loop.match_labels"]

    def match_slowly(context: Any, args: Any) -> Any:
        result = keep(context, args)
        match.loop.pass_time(MINUTE_US)
        return result

    monkeypatch.setitem(JOBS, "loop.match_labels", match_slowly)
    match.pass_time(MINUTE_US)
    assert len(match.known) == 5


def test_a_match_whose_worker_was_killed_behind_its_end_is_done_again(match: Match) -> None:
    match.predict(("pred_a", "F1"), ("pred_b", "F2"))
    match.label(F1=1.0)
    match.loop.reactor.drain()
    match.loop.pass_time(HOUR_US)
    (job,) = match.loop("jobs.list", kind="loop.match_labels")
    match.worker.run_job(job)
    match.label(F2=0.0)
    match.worker.run_all()
    assert match.known == {"pred_a": 1.0, "pred_b": 0.0}


def test_labels_of_many_matches_are_merged(match: Match) -> None:
    for place in range(3):
        match.predict((f"pred_{place}", f"F{place}"))
        match.label(**{f"F{place}": 1.0})
        match.pass_time()
    match.pass_time(3 * DAY_US)
    merge_chunks(match)
    assert len(match.known) == 3
    assert len(match.loop.service("chunks.find", kind="labels", stream="late")) == 1
