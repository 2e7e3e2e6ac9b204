"""The scene of a planted fault: the demo as an operator and an approver see it, and somebody who keeps asking."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

import polars as pl

from loopwright.client import HttpCaller, Remote
from loopwright.demo.setup import DEPLOYMENT, PROJECT
from loopwright.demo.year import ASKED
from loopwright.kernel.clock import HOUR_US, WallClock
from loopwright.kernel.errors import LoopwrightError
from loopwright.loop import Replay, Requests, Stream

LAST_DAYS = 9
"""So many last days of the year happen once more, later, while a bad model is tried."""
TRAFFIC_PAUSE_S = 0.1
SETTLE_S = 20.0


@dataclass
class Scene:
    """What a fault needs: the project as an operator and as an approver, the data, and a way to kill the server."""

    remote: Remote
    approver: Remote
    ingest: ModuleType
    kill_server: Callable[[], None]

    @cached_property
    def last_days(self) -> pl.DataFrame:
        """The last flights of the year."""
        flights: pl.DataFrame = self.ingest.read_flights(self.ingest.package_files())
        return flights.filter(pl.col("scheduled_at") >= pl.col("scheduled_at").max() - pl.duration(days=LAST_DAYS))

    def clock_at(self) -> int:
        """Return the project's clock, microseconds UTC."""
        return int(self.remote.call("loop.status").clock_at)

    def repeat_last_days(self) -> Replay:
        """Return a replay of the last flights as if they came now, with ids of their own."""
        clock_at = self.clock_at()
        first = int(self.last_days["scheduled_at"].dt.epoch("us").min())  # type: ignore[arg-type]
        shift = pl.duration(microseconds=(clock_at - first) // HOUR_US * HOUR_US + HOUR_US)
        again = self.last_days.with_columns(
            pl.col("scheduled_at") + shift,
            pl.col("landed_at") + shift,
            flight_id=pl.format("{}-again-{}", "flight_id", pl.lit(clock_at)),
        )
        known = again.with_columns(settled_at=self.ingest.settled_at(again))
        asked = again.select(*ASKED, event_at="scheduled_at", is_late=pl.col("arr_delay") > 15, landed_at="landed_at")
        requests = Requests(asked, event_at="event_at", label="is_late", label_at="landed_at")
        return Replay(self.remote, DEPLOYMENT, [Stream("flights", known, "settled_at")], requests)


@dataclass
class Traffic:
    """Somebody who keeps asking for predictions while things break."""

    scene: Scene
    ids: list[str] = field(default_factory=list)
    refused: int = 0
    last_by_version: dict[int, int] = field(default_factory=dict)
    """When each version answered last, microseconds UTC of the wall clock."""
    _is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Traffic":
        self.started_at = self.scene.clock_at()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        while not self.ids and not self.refused:
            time.sleep(TRAFFIC_PAUSE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more."""
        self._is_over.set()
        self._thread.join()

    def _ask(self) -> None:
        caller = HttpCaller(self.scene.remote.caller.url, self.scene.remote.caller.gateway_url)
        deployment = Remote(PROJECT, caller).deployment(DEPLOYMENT)
        number = 0
        while not self._is_over.wait(TRAFFIC_PAUSE_S):
            number += 1
            try:
                [answer] = deployment.predict([self._request(number)])
            except LoopwrightError:
                self.refused += 1
                continue
            self.ids.append(str(answer["prediction_id"]))
            self.last_by_version[int(answer["model_version"])] = WallClock().now_us()

    def _request(self, number: int) -> dict[str, Any]:
        return {
            "flight_id": f"planted-{self.started_at}-{number}",
            "scheduled_at": self.started_at,
            "event_at": self.started_at,
            "carrier": "UA",
            "origin": "EWR",
            "dest": "ORD",
            "tailnum": "N37287",
            "distance": 719,
        }

    def lost(self) -> int:
        """Return how many requests were refused, or answered but are not in the log.

        A gateway sends its spool as soon as it has found the server again, so the log is asked for a while.
        """
        deadline = time.monotonic() + SETTLE_S
        while True:
            log = self.scene.remote.deployment(DEPLOYMENT).read_log(self.started_at, self.started_at + 1)
            missing = len(set(self.ids) - set(log["prediction_id"]))
            if not missing or time.monotonic() > deadline:
                return self.refused + missing
            time.sleep(0.5)
