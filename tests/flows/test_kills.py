"""kill -9 of server, gateway and worker at random moments under load: nothing acknowledged is missing or doubled."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.cli.closing import read_log
from loopwright.cli.serving import wait_for_job
from loopwright.cli.verifying import verify_state
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import Unavailable
from loopwright.server.supervisor import ROLES, Supervisor
from tests.flows.flights_slice import START, apply_file, make_replay, write_slice
from tests.flows.test_loop import released_by_a_person, train

HOURS = 60
KILLS_EVERY_HOURS = 8
LATEST_S = 0.3


def again(call: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Repeat a call until the killed process is back, as a careful client does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Killer(threading.Thread):
    """Kills a process at a random moment of every eighth hour or so, each role in turn; the supervisor brings it back.

    Hours of the replay are counted, not seconds, so that fast and slow machines see as many kills and all get on.
    """

    def __init__(self, platform: Supervisor, seed: int) -> None:
        super().__init__(daemon=True)
        self.platform, self.chance = platform, random.Random(seed)
        self.kills: list[str] = []
        self.hours = 0
        self.is_over = threading.Event()

    def run(self) -> None:
        roles: list[str] = []
        due = KILLS_EVERY_HOURS
        while not self.is_over.wait(0.005):
            if self.hours < due:
                continue
            roles = roles or self.chance.sample(ROLES, len(ROLES))
            self.is_over.wait(self.chance.uniform(0.0, LATEST_S))
            role = roles.pop()
            self.platform.kill(role)
            self.kills.append(role)
            self.platform.revive()
            due = self.hours + self.chance.randint(KILLS_EVERY_HOURS - 2, KILLS_EVERY_HOURS + 2)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_missing_or_doubled(platform: Supervisor, caller: HttpCaller, tmp_path: Path) -> None:
    remote = apply_file(write_slice(tmp_path / "project"), caller)
    for job in remote.call("jobs.list"):
        wait_for_job(remote, job.job_id)
    train(remote)
    released_by_a_person(remote)
    replay = make_replay(remote, 3)
    deployment = remote.deployment("late")
    acknowledged: list[str] = []
    labels: dict[str, float] = {}

    killer = Killer(platform, seed=7)
    killer.start()
    for hour in range(HOURS):
        clock_at = START + (hour + 1) * HOUR_US
        rows, outcomes = replay._requests.between(clock_at - HOUR_US, clock_at)
        for stream in replay._streams:
            pushed = stream.between(clock_at - HOUR_US, clock_at)
            if pushed.height:
                again(lambda stream=stream, pushed=pushed: remote.dataset(stream.dataset).push(pushed))
        again(lambda clock_at=clock_at: remote.advance(clock_at))
        if rows:
            answers = again(lambda rows=rows: deployment.predict(rows))
            acknowledged += [answer["prediction_id"] for answer in answers]
            sent = [
                {"prediction_id": answer["prediction_id"], "label": label, "event_at": clock_at}
                for answer, (label, _) in zip(answers, outcomes, strict=True)
                if label is not None
            ]
            again(lambda sent=sent: deployment.label(sent))
            labels |= {one["prediction_id"]: float(one["label"]) for one in sent}
        killer.hours += 1
    killer.is_over.set()
    killer.join()
    platform.revive()
    assert set(killer.kills) == set(ROLES)
    assert len(killer.kills) >= 4

    log = again(lambda: settled_log(remote, acknowledged))
    served = log.filter(~log["is_shadow"])
    counts = served["prediction_id"].value_counts()
    assert set(acknowledged) <= set(served["prediction_id"])
    assert counts["count"].max() == 1
    found = dict(served.select("prediction_id", "label").drop_nulls().iter_rows())
    assert {name: found.get(name) for name in labels} == labels
    platform.stop()
    assert verify_state(platform.settings).problems == []


def settled_log(remote: Remote, acknowledged: list[str]) -> Any:
    """Read the log once the gateways have sent what they kept while the server was down."""
    deadline = time.monotonic() + 30
    while True:
        log = read_log(remote, "late", START, START + 3 * DAY_US)
        if set(acknowledged) <= set(log["prediction_id"]) or time.monotonic() > deadline:
            return log
        time.sleep(0.5)
