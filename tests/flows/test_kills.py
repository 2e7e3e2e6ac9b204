"""kill -9 of server, gateway and worker at drawn moments under load: nothing acknowledged is missing or doubled."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from loopwright.cli.serving import wait_for_job
from loopwright.cli.verifying import verify_state
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import Unavailable
from loopwright.server.supervisor import ROLES, Supervisor
from tests.flows.cluster import revive
from tests.flows.flights_slice import START, apply_file, read_history, write_slice
from tests.flows.losing import losing_an_answer
from tests.flows.test_loop import released_by_a_person, train
from tests.waiting import PATIENCE_S, wait_until

T = TypeVar("T")

HOURS = 60
PHASES = ("push", "advance", "predict", "label")
"""What an hour consists of; a kill falls into one of them."""
IN_BETWEEN = {("gateway", "predict"), ("gateway", "push")}
LATEST_S = 0.1
"""Latest moment of a kill after its phase began."""
LONGER_S = 90.0
"""How long a client waits for a process that is started again: also a slow machine gets it done, under one key."""


@dataclass(frozen=True)
class Kill:
    """Which process is killed in which hour of the replay, and how long after a phase of it began."""

    hour: int
    phase: str
    role: str
    after_s: float


def draw_kills(seed: int) -> Iterator[Kill]:
    """Draw a kill every sixth to tenth hour, each role in turn, in whichever phase."""
    chance = random.Random(seed)
    roles: list[str] = []
    hour = 0
    while (hour := hour + chance.randint(6, 10)) < HOURS:
        roles = roles or chance.sample(ROLES, len(ROLES))
        yield Kill(hour, chance.choice(PHASES), roles.pop(), chance.uniform(0.0, LATEST_S))


def again(call: Callable[[], T]) -> T:
    """Repeat a call until the killed process is back, as a careful client does."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Killer:
    """Kills what was drawn while the replay is in the middle of it; the supervisor brings it back.

    A gateway that predicts or takes pushes is killed when the rows are in its log and before anybody knows: it is asked
    again.

    The replay itself says where it is and goes on only once a kill has happened, so that every machine, however fast,
    sees the same kills in the same hours.
    """

    def __init__(self, platform: Supervisor, caller: HttpCaller, kills: list[Kill]) -> None:
        self._platform, self._caller = platform, caller
        self._due = {(kill.hour, kill.phase): kill for kill in kills}
        self.done: list[Kill] = []

    def during(self, hour: int, phase: str, call: Callable[[], T]) -> T:
        """Make a call of the replay, and kill meanwhile what is due."""
        kill = self._due.pop((hour, phase), None)
        if kill is None:
            return again(call)
        if (kill.role, kill.phase) in IN_BETWEEN:
            with losing_an_answer(self._caller, lambda _: self._carry_out(kill)):
                return again(call)
        killing = threading.Timer(kill.after_s, self._carry_out, [kill])
        killing.start()
        try:
            return again(call)
        finally:
            killing.join()

    def _carry_out(self, kill: Kill) -> None:
        self._platform.kill(kill.role)
        self.done.append(kill)
        revive(self._platform, kill.role)


@dataclass
class Acknowledged:
    """What the platform said it has: flights by the ids of their predictions, and the labels of some."""

    predictions: dict[str, str]
    labels: dict[str, float]


def play(remote: Remote, killer: Killer) -> Acknowledged:
    """Replay the hours by hand, a call at a time, and write down what was acknowledged."""
    streams, requests = read_history(HOURS // 24 + 1)
    deployment = remote.deployment("late")
    heard = Acknowledged({}, {})
    for hour in range(HOURS):
        clock_at = START + (hour + 1) * HOUR_US
        rows, outcomes = requests.between(clock_at - HOUR_US, clock_at)
        for stream in streams:
            pushed = stream.between(clock_at - HOUR_US, clock_at)
            killer.during(hour, "push", lambda stream=stream, pushed=pushed: push(remote, stream.dataset, pushed))
        killer.during(hour, "advance", lambda clock_at=clock_at: remote.advance(clock_at))
        answers = killer.during(hour, "predict", lambda rows=rows: deployment.predict(rows) if rows else [])
        for row, answer in zip(rows, answers, strict=True):
            heard.predictions[answer["prediction_id"]] = row["flight_id"]
        sent = [
            {"prediction_id": answer["prediction_id"], "label": label, "event_at": clock_at}
            for answer, (label, _) in zip(answers, outcomes, strict=True)
            if label is not None
        ]
        killer.during(hour, "label", lambda sent=sent: deployment.label(sent) if sent else 0)
        heard.labels |= {label["prediction_id"]: float(label["label"]) for label in sent}
    return heard


def push(remote: Remote, dataset: str, rows: Any) -> int:
    return remote.dataset(dataset).push(rows) if rows.height else 0


@pytest.mark.slow
def test_nothing_acknowledged_is_missing_or_doubled(platform: Supervisor, caller: HttpCaller, tmp_path: Path) -> None:
    remote = apply_file(write_slice(tmp_path / "project"), caller)
    for job in remote.call("jobs.list"):
        wait_for_job(remote, job.job_id)
    train(remote)
    released_by_a_person(remote)

    kills = list(draw_kills(seed=166))
    caller.patience_s = LONGER_S
    killer = Killer(platform, caller, kills)
    heard = play(remote, killer)
    assert killer.done == kills
    assert {(kill.role, kill.phase) for kill in kills} >= IN_BETWEEN
    assert ({kill.role for kill in kills}, {kill.phase for kill in kills}) == (set(ROLES), set(PHASES))

    log = again(lambda: settled_log(remote, heard.predictions))
    served = log.filter(~log["is_shadow"])
    found = sorted(served.select("prediction_id", "row_key").iter_rows())
    assert found == sorted(heard.predictions.items()), "each flight once, under the id that was acknowledged"
    labels = dict(served.select("prediction_id", "label").drop_nulls().iter_rows())
    assert {name: labels.get(name) for name in heard.labels} == heard.labels
    platform.stop()
    assert verify_state(platform.settings).problems == []


def settled_log(remote: Remote, acknowledged: Iterable[str]) -> Any:
    """Read the log once the gateways have sent what they kept while the server was down."""

    def read() -> list[Any]:
        log = remote.deployment("late").read_log(START, START + 3 * DAY_US)
        return [log] if set(acknowledged) <= set(log["prediction_id"]) else []

    [log] = wait_until(read, lambda: "the log lacks predictions that were acknowledged")
    return log
