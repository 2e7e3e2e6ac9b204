"""The year: replay March to December hour by hour through the public client."""

import time

import polars as pl

from loopwright.cli import Progress
from loopwright.demo.notes import Notes
from loopwright.demo.setup import DEPLOYMENT, END_AT, LABELS_UNTIL, START_AT, Stage
from loopwright.kernel.clock import DAY_US, HOUR_US, format_moment
from loopwright.loop import SERVED, Replay, Requests, RetrainRecord, Stream

ASKED = ["flight_id", "scheduled_at", "carrier", "origin", "dest", "tailnum", "distance"]


def play_year(stage: Stage, notes: Notes, end_at: int) -> None:
    """Replay from where the notes stand to ``end_at`` (microseconds UTC); a run that was stopped goes on exactly.

    The labels of a year that ends are awaited; a shorter stretch may be continued, so its last ones stay open.
    """
    is_over = notes.is_settled or end_at < END_AT
    if notes.played_until >= end_at and is_over:
        return
    replay, requests = _make_replay(stage)
    if notes.replay is not None:
        replay.restore(notes.replay)
    _finish_hour(stage, notes, replay, requests)
    notes.ends_at = end_at
    progress, started, news = Progress(), time.monotonic(), News(stage)
    for now in replay.run(notes.played_until, end_at, day_starts_at=START_AT):
        notes.played_until, notes.replay = now, replay.notes()
        notes.save(stage.state)
        if (now - START_AT) % DAY_US == 0:
            news.tell(progress)
        share = (now - START_AT) / (end_at - START_AT)
        progress.show(
            f"{format_moment(now)[:13]}h  {share:4.0%}  {replay.tally.predictions} predictions, "
            f"{replay.tally.labels} labels, {time.monotonic() - started:.0f} s"
        )
    if end_at >= END_AT:
        replay.settle(LABELS_UNTIL)
        notes.is_settled, notes.replay = True, replay.notes()
        notes.save(stage.state)
    news.tell(progress)
    progress.done()


def _finish_hour(stage: Stage, notes: Notes, replay: Replay, requests: Requests) -> None:
    """Take over the hour that an earlier run had asked about, or was asking about, when it was stopped.

    If that run came to its requests, the log has answers beyond the notes, and all that goes before requests is done.
    If it did not, the whole hour is played again: to send rows and labels twice is to send them once.
    """
    clock_at = int(stage.remote.call("loop.status").clock_at)
    clock_at -= (clock_at - START_AT) % HOUR_US
    if clock_at <= notes.played_until:
        return
    log = stage.remote.deployment(DEPLOYMENT).read_log(notes.played_until, clock_at).filter(pl.col("series") == SERVED)
    if log.is_empty():
        return
    names = dict(log.select("row_key", "prediction_id").iter_rows())
    rows, outcomes = requests.between(notes.played_until, clock_at)
    unasked = [row for row in rows if row["flight_id"] not in names]
    answers = stage.remote.deployment(DEPLOYMENT).predict(unasked) if unasked else []
    names |= {row["flight_id"]: answer["prediction_id"] for row, answer in zip(unasked, answers, strict=True)}
    found = replay.notes()
    found["waiting"] += [
        (label_at, names[row["flight_id"]], label)
        for row, (label, label_at) in zip(rows, outcomes, strict=True)
        if label is not None and label_at is not None
    ]
    found["tally"]["predictions"] += len(rows)
    replay.restore(found)
    notes.played_until, notes.replay = clock_at, replay.notes()
    notes.save(stage.state)


def _make_replay(stage: Stage) -> tuple[Replay, Requests]:
    files = stage.ingest.package_files()
    flights, weather = stage.ingest.read_flights(files), stage.ingest.read_weather(files)
    known = flights.with_columns(settled_at=stage.ingest.settled_at(flights))
    observed = weather.with_columns(complete_at=pl.col("observed_at") + pl.duration(hours=1))
    asked = flights.select(*ASKED, event_at="scheduled_at", is_late=pl.col("arr_delay") > 15, landed_at="landed_at")
    requests = Requests(asked, event_at="event_at", label="is_late", label_at="landed_at")
    streams = [Stream("flights", known, "settled_at"), Stream("weather", observed, "complete_at")]
    return Replay(stage.remote, DEPLOYMENT, streams, requests), requests


class News:
    """Tells what the policy did since it was asked last; what it did before is known."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._told = {(record.retrain_id, record.state) for record in self._retrains()}

    def _retrains(self) -> list[RetrainRecord]:
        return list(self._stage.remote.call("loop.retrains", deployment=DEPLOYMENT))

    def tell(self, progress: Progress) -> None:
        """Print each retrain's start and end once."""
        for record in reversed(self._retrains()):
            if (record.retrain_id, record.state) in self._told or record.state == "rolling_out":
                continue
            self._told.add((record.retrain_id, record.state))
            at = format_moment(record.finished_at or record.event_at)[:10]
            what = "retrain" if record.state == "training" else record.state
            progress.done(f"{at}  {what}: {record.reason if record.state == 'training' else record.outcome}")
