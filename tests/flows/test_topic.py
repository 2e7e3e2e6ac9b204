"""Landings come one by one from a topic: features in a Redis are those of the rows that training reads, to the bit.

Messages are repeated, late, corrected and broken, and the gateway is killed; each row counts once.
"""

import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.config import load_settings
from loopwright.kernel.clock import WallClock
from loopwright.server.supervisor import Supervisor, running
from tests.flows.flights_slice import apply_file
from tests.redis_server import running_redis
from tests.servers import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

EXAMPLE = Path("examples/stream/stream.py")
HISTORY, LIVE = 1500, 40
GROUP = "loopwright:landings:flights"
COLUMNS = ["flight_id", "scheduled_at", "carrier", "tail", "delay", "is_late"]


class Landings:
    """Writes what airports tell, and knows what is true by now."""

    def __init__(self, client: Any) -> None:
        self._client, self._chance = client, random.Random(7)
        self.true: dict[int, dict[str, Any]] = {}

    def flight(self, number: int, at: datetime) -> dict[str, Any]:
        carrier, delay = self._chance.choice(["UA", "AA", "DL", "B6"]), self._chance.gauss(8, 25)
        delay = round(max(-60.0, delay + (15 if carrier == "B6" else 0)), 1)
        tail = f"N{self._chance.randint(1, 60)}"
        told = {"flight_id": number, "scheduled_at": at.isoformat(), "carrier": carrier, "tail": tail}
        return {**told, "delay": delay, "is_late": delay > 15}

    def say(self, row: dict[str, Any], place: str = "*") -> None:
        self.true[row["flight_id"]] = row
        self.add(json.dumps(row).encode(), place)

    def add(self, body: bytes, place: str = "*") -> None:
        self._client.xadd("landings", {"row": body}, id=place)

    def history(self) -> None:
        """Two days of landings, in the order in which they became known: up to two hours late."""
        now = datetime.fromtimestamp(WallClock().now_us() / 1_000_000, UTC)
        told = []
        for number in range(HISTORY):
            at = now - timedelta(hours=48 - 46 * number / HISTORY)
            told.append((at + timedelta(minutes=self._chance.uniform(1, 120)), self.flight(number, at)))
        for count, (arrived, row) in enumerate(sorted(told, key=lambda each: each[0])):
            self.say(row, f"{int(arrived.timestamp() * 1000)}-{count}")

    @property
    def waiting(self) -> int:
        """How many messages nobody has taken yet."""
        (group,) = self._client.xinfo_groups("landings") or [{"pending": 1, "lag": 1}]
        return int(group["pending"]) + int(group["lag"] or 0)


class Streamed:
    """A platform whose features lie in a Redis, which also brings the landings."""

    def __init__(self, platform: Supervisor, landings: Landings, remote: Remote, client: Any) -> None:
        self.platform, self.landings, self.p, self.client = platform, landings, remote, client

    def drained(self) -> None:
        wait_until(lambda: self.landings.waiting == 0, self._told)

    def _told(self) -> object:
        said = (self.platform.settings.state_dir / "logs" / "gateway.log").read_text()[-3000:]
        return self.client.xinfo_groups("landings"), self.client.xinfo_consumers("landings", GROUP), said

    def take(self) -> None:
        """Have what was pushed become versions, until the dataset says what is true."""
        fed = self.p.job(self.p.call("loop.take_pushes", dataset="flights").job_id).wait().result
        self.p.job(fed["import"]).wait()
        wait_until(
            lambda: self.stored().equals(self.true()), lambda: self.stored().join(self.true(), on=COLUMNS, how="anti")
        )

    def stored(self) -> pl.DataFrame:
        return self.p.dataset("flights").read().sort("flight_id").select(COLUMNS)

    def true(self) -> pl.DataFrame:
        rows = pl.DataFrame(list(self.landings.true.values())).sort("flight_id")
        at = pl.col("scheduled_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC")
        return rows.with_columns(at).select(COLUMNS)

    def predict(self, first: int, count: int) -> None:
        """Ask about flights, of which some are about to land, and let them land."""
        for number in range(first, first + count):
            now = datetime.fromtimestamp(WallClock().now_us() / 1_000_000, UTC)
            row = self.landings.flight(number, now)
            asked = {name: row[name] for name in ("flight_id", "scheduled_at", "carrier", "tail")}
            self.p.deployment("late").predict([asked])
            self.landings.say(row)
            if number % 7 == 0:  # told twice, as brokers do
                self.landings.say(row)
            if number % 5 == 0:  # and corrected
                self.landings.say({**row, "delay": row["delay"] + 1, "is_late": row["delay"] + 1 > 15})
            self.drained()  # what lies between broker and gateway is known to the one and not to the other


@pytest.fixture
def streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streamed]:
    redis = pytest.importorskip("redis")
    state = tmp_path / "state"
    with running_redis(tmp_path) as url, redis.Redis.from_url(url, decode_responses=True) as client:
        told = load_settings(state)
        brokers = f"landings/events={url}"
        told = msgspec.structs.replace(
            told, port=free_port(), gateway_port=free_port(), online_url=url, sources=brokers
        )
        monkeypatch.setenv("LOOPWRIGHT_STATE", str(state))
        landings = Landings(client)
        landings.history()
        with running(told) as platform:
            threading.Thread(target=platform.watch, daemon=True).start()
            caller = HttpCaller(platform.server_url)
            remote = apply_file(EXAMPLE, caller)
            yield Streamed(platform, landings, remote, client)
            caller.close()


def test_features_of_a_topic_are_those_of_its_rows(streamed: Streamed) -> None:
    p = streamed.p
    streamed.drained()
    streamed.take()
    p.start("fit", reason="the first model").wait()
    wait_until(lambda: p.call("serving.status", deployment="late").release is not None)

    streamed.predict(HISTORY, LIVE)
    streamed.landings.add(b'{"flight_id": "x"')
    streamed.landings.add(json.dumps({**streamed.landings.flight(1, datetime.now(UTC)), "delay": "late"}).encode())
    streamed.platform.kill("gateway")
    streamed.landings.add(b"[]")
    streamed.drained()
    streamed.predict(HISTORY + LIVE, LIVE)
    streamed.drained()

    refused = {fields["id"]: fields["why"] for _, fields in streamed.client.xrange("landings.refused")}
    assert len(refused) == 3, refused  # a gateway that was killed may refuse one twice
    streamed.take()
    job = p.call("loop.start_skew_audit", deployment="late", rows=1000)
    audited = p.job(job.job_id).wait().result
    assert (audited["rows"], audited["unequal_rows"]) == (2 * LIVE, 0), audited
