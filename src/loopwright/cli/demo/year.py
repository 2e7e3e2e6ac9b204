"""The year: replay March to December hour by hour through the public client."""

import json
import time

import polars as pl

from loopwright.cli.demo.setup import DEPLOYMENT, LABELS_UNTIL, START_AT, Stage
from loopwright.cli.show import Progress
from loopwright.client import Replay, Requests, Stream
from loopwright.kernel.clock import DAY_US, format_moment

ASKED = ["flight_id", "scheduled_at", "carrier", "origin", "dest", "tailnum", "distance"]


def play_year(stage: Stage, end_at: int) -> None:
    """Replay from where the project's clock stands to ``end_at`` (microseconds UTC)."""
    notes = stage.state / "replay.json"
    replay = _replay(stage)
    clock_at = stage.remote.call("loop.status").clock_at
    if notes.exists():
        replay.restore(json.loads(notes.read_text()))
    if clock_at >= end_at:
        return
    progress, started, news = Progress(), time.monotonic(), News(stage)
    for now in replay.run(clock_at, end_at, day_starts_at=START_AT):
        if (now - START_AT) % DAY_US == 0:
            notes.write_text(json.dumps(replay.notes()))
            news.tell(progress)
        share = (now - START_AT) / (end_at - START_AT)
        progress.show(
            f"{format_moment(now)[:13]}h  {share:4.0%}  {replay.tally.predictions} predictions, "
            f"{replay.tally.labels} labels, {time.monotonic() - started:.0f} s"
        )
    replay.settle(min(LABELS_UNTIL, end_at + DAY_US))
    notes.write_text(json.dumps(replay.notes()))
    news.tell(progress)
    progress.done()


def _replay(stage: Stage) -> Replay:
    files = stage.ingest.package_files()
    flights, weather = stage.ingest.read_flights(files), stage.ingest.read_weather(files)
    known = flights.with_columns(settled_at=stage.ingest.settled_at(flights))
    observed = weather.with_columns(complete_at=pl.col("observed_at") + pl.duration(hours=1))
    asked = flights.select(*ASKED, event_at="scheduled_at", is_late=pl.col("arr_delay") > 15, landed_at="landed_at")
    return Replay(
        stage.remote,
        DEPLOYMENT,
        [Stream("flights", known, "settled_at"), Stream("weather", observed, "complete_at")],
        Requests(asked, event_at="event_at", label="is_late", label_at="landed_at"),
    )


class News:
    """Tells what the policy did since it was asked last."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._told: set[tuple[str, str]] = set()

    def tell(self, progress: Progress) -> None:
        """Print each retrain's start and end once."""
        for record in reversed(self._stage.remote.call("loop.retrains", deployment=DEPLOYMENT)):
            if (record.retrain_id, record.state) in self._told or record.state == "rolling_out":
                continue
            self._told.add((record.retrain_id, record.state))
            at = format_moment(record.finished_at or record.event_at)[:10]
            what = "retrain" if record.state == "training" else record.state
            progress.done(f"{at}  {what}: {record.reason if record.state == 'training' else record.outcome}")
