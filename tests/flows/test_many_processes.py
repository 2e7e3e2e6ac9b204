"""Three servers, two workers and two gateways on PostgreSQL do what one of each does on SQLite, while kill -9 goes on.

The same days are played to both. What differs afterwards but for names, places and latency was lost, doubled or done in
an order that no single process would have done it in. ``LOOPWRIGHT_TEST_DAYS=30`` plays a month, and
``LOOPWRIGHT_TEST_SEED`` draws other kills.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from sqlalchemy import text

from loopwright.cli.serving import wait_for_job
from loopwright.cli.verifying import verify_state
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.config import Settings, load_settings
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.loop import Replay
from loopwright.server.supervisor import running
from loopwright.store.engine import Database
from tests.databases import Postgres
from tests.flows.cluster import Cluster, running_cluster
from tests.flows.flights_slice import SHORTER, START, apply_file, read_history, write_slice
from tests.flows.losing import losing_an_answer
from tests.flows.test_kills import LONGER_S, again
from tests.flows.test_loop import released_by_a_person, train
from tests.servers import free_port
from tests.waiting import wait_until

T = TypeVar("T")

HOURS = round(float(os.environ.get("LOOPWRIGHT_TEST_DAYS", "1.5")) * 24)
SEED = int(os.environ.get("LOOPWRIGHT_TEST_SEED", "7"))
END = START + HOURS * HOUR_US
RETRAIN_AT = START + DAY_US // 2
FEWEST_CALLS, MOST_CALLS = 8, 20
"""How many calls of the replay lie between two kills."""
LATEST_S = 0.1
"""Latest moment of a kill after a call began."""
SAME_EVERYWHERE = {
    **SHORTER,
    # A tree must come out the same however busy the machine is: left alone, LightGBM times two ways and takes one.
    "n_jobs=2, verbose=-1": "n_jobs=1, deterministic=True, force_col_wise=True, verbose=-1",
    # Nothing may hang on latency, which is that of processes that were just killed.
    'guard=["error_rate", "latency_p99"]': 'guard=["error_rate"]',
    "lw.gate.latency(p99_ms=5)": "lw.gate.latency(p99_ms=100_000)",
    '    follow=["frozen", "calendar"],': '    follow=["frozen", "calendar"],\n    sticky="flight_id",',
    'lw.Shadow("7d",': 'lw.Shadow("12h",',
}

FILL = "features.materialize"
SAME_EVENTS = f"""payload NOT LIKE '%"kind":"latency"%' AND payload NOT LIKE '%"{FILL}"%' AND type NOT LIKE '{FILL}%'"""
"""Which events are as many whoever plays the days.

Answers of processes that were just killed are slow, and in a month that may be an incident. And a version whose rows
were pushed is filled in once more where those pushes are not sealed yet when it is ready; that changes no entity.
"""


class Killer:
    """Kills one process after the other while calls of the replay are under way, and starts it again.

    Which call, which process and how long after the call began is drawn; the replay goes on only once it has happened,
    so that every machine sees the same kills at the same calls. The first one, and from then on every other of those of
    gateways that predict, falls between log and answer: the request comes again, and its rows are there twice.
    """

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster, self._chance = cluster, random.Random(seed)
        self._turn: list[str] = []
        self._calls_left = MOST_CALLS
        self.done: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()
        self._predicting = 0
        self.between = 0
        """How many fell between log and answer."""

    def during(self, phase: str, call: Callable[[], T], caller: HttpCaller) -> T:
        """Make a call, and kill meanwhile if it is time."""
        self._calls_left -= 1
        if self._calls_left > 0 or not (self._predicting or phase == "predict"):
            return again(call)
        self._calls_left = self._chance.randint(FEWEST_CALLS, MOST_CALLS)
        self._turn = self._turn or self._chance.sample(sorted(self._cluster.nodes), len(self._cluster.nodes))
        gateways = [name for name in self._turn if name.startswith("gateway")] if phase == "predict" else []
        name = (gateways or self._turn)[-1]
        self.phases[phase] += 1
        self._predicting += bool(gateways)
        if gateways and self._predicting % 2:
            with losing_an_answer(caller, self._kill_at):
                return again(call)
        self._turn.remove(name)
        killing = threading.Timer(self._chance.uniform(0.0, LATEST_S), self._kill, [name])
        killing.start()
        try:
            return again(call)
        finally:
            killing.join()

    def _kill_at(self, url: str) -> None:
        """Kill the gateway that a request went to, whichever was due."""
        urls = self._cluster.gateway_urls
        name = f"gateway-{next(number for number, where in enumerate(urls, 1) if url.startswith(where))}"
        if name in self._turn:
            self._turn.remove(name)
        self._kill(name)
        self.between += 1

    def _kill(self, name: str) -> None:
        node = self._cluster.nodes[name]
        node.kill()
        self.done[name] += 1
        node.revive()


class Peace:
    """Kills nobody."""

    def during(self, _phase: str, call: Callable[[], T], _caller: HttpCaller) -> T:
        """Make a call."""
        return call()


@dataclass
class Client:
    """What the replay speaks to: each call goes to another server and gateway first; what is acknowledged is kept."""

    remotes: list[Remote]
    killer: Killer | Peace
    gateways: int = 1
    calls: int = 0
    answers: list[tuple[str, Any, int]] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    labels: dict[str, float] = field(default_factory=dict)
    pushed: int = 0

    @property
    def remote(self) -> Remote:
        self.calls += 1
        return self.remotes[self.calls % len(self.remotes)]

    def during(self, phase: str, ask: Callable[[Remote], T]) -> T:
        """Make a call of the replay."""
        remote = self.remote
        return self.killer.during(phase, lambda: ask(remote), remote.caller)

    def deployment(self, _name: str) -> "Client":
        return self

    def dataset(self, name: str) -> "Dataset":
        return Dataset(self, name)

    def advance(self, until: int) -> Any:
        moved = self.during("advance", lambda remote: remote.advance(until))
        # A gateway that is away for longer than its lease is not waited for, and a slow machine starts one slowly.
        wait_until(self._do_gateways_agree, lambda: again(lambda: self.remote.call("serving.gateways")))
        return moved

    def _do_gateways_agree(self) -> bool:
        live = again(lambda: self.remote.call("serving.gateways"))
        return len(live) == self.gateways and len({lease.acknowledged for lease in live}) == 1

    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answers = self.during("predict", lambda remote: remote.deployment("late").predict(rows))
        for row, answer in zip(rows, answers, strict=True):
            self.answers.append((row["flight_id"], answer["score"], answer["model_version"]))
            self.predictions.append(answer["prediction_id"])
        return answers

    def label(self, labels: list[dict[str, Any]]) -> int:
        taken = self.during("label", lambda remote: remote.deployment("late").label(labels))
        self.labels |= {label["prediction_id"]: float(label["label"]) for label in labels}
        return taken


@dataclass
class Dataset:
    """A dataset of the replay."""

    client: Client
    name: str

    def push(self, rows: Any) -> int:
        taken: int = self.client.during("push", lambda remote: remote.dataset(self.name).push(rows))
        self.client.pushed += taken
        return taken

    def append(self, rows: Any, reason: str) -> Any:
        return self.client.during("append", lambda remote: remote.dataset(self.name).append(rows, reason=reason))


def play(client: Client, folder: Path) -> dict[str, Any]:
    """Begin with an empty platform, play the days and return what came of them."""
    remote = client.remotes[0]
    apply_file(write_slice(folder, SAME_EVERYWHERE), remote.caller)
    for job in remote.call("jobs.list"):
        wait_for_job(remote, job.job_id)
    train(remote)
    released_by_a_person(remote)
    streams, requests = read_history(HOURS // 24 + 1)
    replay = Replay(client, "late", streams, requests)  # type: ignore[arg-type]
    for _ in replay.run(START, RETRAIN_AT, day_starts_at=START):
        pass
    remote.call("loop.start_retrain", deployment="late", cause="person", reason="to see a rollout")
    for _ in replay.run(RETRAIN_AT, END, day_starts_at=START):
        pass
    replay.settle(END + 2 * DAY_US)
    return again(lambda: outcome(client))


def outcome(client: Client) -> dict[str, Any]:
    """Return what came of the days, but for names, latency and moments of the wall clock."""
    remote = client.remotes[0]
    log = remote.deployment("late").read_log(START, END)
    served = log.filter(~log["is_shadow"])
    assert sorted(served["prediction_id"]) == sorted(client.predictions), "acknowledged and logged differ"
    asked = Counter(flight for flight, _, _ in client.answers)
    assert Counter(served["row_key"]) == asked, "a flight is in the log more often than it was asked for"
    labels = dict(served.select("prediction_id", "label").drop_nulls().iter_rows())
    assert labels == client.labels, "labels that were acknowledged and those in the log differ"
    return {
        "answers": client.answers,
        "pushed": client.pushed,
        "shadows": sorted(log.filter("is_shadow").group_by("variant", "model_version").len().iter_rows()),
        # Until it is settled a window may lack what a gateway held that came back only after its lease.
        "windows": [
            _plain(one, "recorded_at", "latency_p99_ms") if one.state == "settled" else (one.start_at, one.state)
            for one in remote.call("monitoring.windows", deployment="late", limit=1000)
        ],
        # Those of one training are made side by side, so that their numbers say nothing.
        "training sets": sorted(
            (_plain(one, "recorded_at", "version") for one in remote.call("features.training_sets", service="late")),
            key=repr,
        ),
        "versions": [
            (one.version, one.source, one.digest, one.metrics) for one in remote.call("registry.versions", model="late")
        ],
        "rollouts": [
            (one.version, one.state, [verdict.metric for verdict in one.verdicts])
            for one in remote.call("serving.rollouts", deployment="late")
        ],
        "incidents": sorted(
            (one.subject, one.kind, one.state) for one in remote.call("monitoring.incidents") if one.kind != "latency"
        ),
        "needs": [
            one.line for one in remote.call("loop.status").needs if "1 answer of 100 takes longer" not in one.line
        ],
    }


def _plain(struct: Any, *without: str) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(struct).items() if name not in without}


def left_over(settings: Settings) -> dict[str, Any]:
    """Return what the rows say once every process has ended: events by type, jobs by state, timers that wait."""
    database = Database(settings.database_url)
    asked = {
        "events": f"SELECT type, count(*) FROM events WHERE {SAME_EVENTS} GROUP BY type ORDER BY type",
        "jobs": f"SELECT kind, state, count(*) FROM jobs WHERE kind <> '{FILL}' GROUP BY 1, 2 ORDER BY 1, 2",
        "timers": "SELECT verb, due_at, failures FROM timers ORDER BY verb, due_at",
        "unsealed": "SELECT count(*) FROM events WHERE position IS NULL",
    }
    with database.reading() as connection:
        rows = {name: [tuple(row) for row in connection.execute(text(asked[name]))] for name in asked}
    database.close()
    return rows


def differences(expected: dict[str, Any], came: dict[str, Any]) -> list[str]:
    """Return what one of two outcomes has and the other has not, a line each."""
    lines = []
    for name in expected:
        sides = [outcome[name] if isinstance(outcome[name], list) else [outcome[name]] for outcome in (expected, came)]
        before, after = (Counter(map(repr, side)) for side in sides)
        lines += [f"{name}: not {one}" for one in (before - after).elements()]
        lines += [f"{name}: but {one}" for one in (after - before).elements()]
        if before == after and sides[0] != sides[1]:
            lines.append(f"{name}: in another order")
    return lines


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    made = postgres.new()
    yield made
    postgres.drop(made)


def callers(servers: list[str], gateways: list[str]) -> list[HttpCaller]:
    """Return one caller for each order in which servers and gateways may be asked."""
    return [
        HttpCaller(
            ",".join(servers[n % len(servers) :] + servers[: n % len(servers)]),
            ",".join(gateways[n % len(gateways) :] + gateways[: n % len(gateways)]),
            patience_s=LONGER_S,
        )
        for n in range(len(servers) * len(gateways))
    ]


@pytest.mark.slow
@pytest.mark.timeout(600 + 30 * HOURS)
def test_many_processes_that_are_killed_do_what_one_of_each_does(url: str, tmp_path: Path) -> None:
    roots = (tmp_path, Path.cwd())
    alone = msgspec.structs.replace(
        load_settings(tmp_path / "alone"),
        port=free_port(),
        gateway_port=free_port(),
        source_roots=roots,
        user_folders=roots[:1],
    )
    with running(alone) as platform:
        calling = callers([platform.server_url], [platform.gateway_url])
        expected = play(Client([Remote("flights", one) for one in calling], Peace()), tmp_path / "project")
        calling[0].close()
    expected |= left_over(alone)

    with running_cluster(tmp_path / "cluster", url, roots) as cluster:
        calling = callers(cluster.server_urls, cluster.gateway_urls)
        killer = Killer(cluster, SEED)
        client = Client([Remote("flights", one) for one in calling], killer, len(cluster.gateway_urls))
        came = play(client, tmp_path / "project")
        for one in calling:
            one.close()
    came |= left_over(cluster.settings)
    print(f"{killer.done.total()} kills: {dict(killer.phases)}; {killer.between} between log and answer")

    assert set(killer.done) == set(cluster.nodes), killer.phases
    assert killer.between
    different = differences(expected, came)
    print(*different, sep="\n")
    assert not different
    verified = verify_state(cluster.settings)
    assert verified.problems == []
    assert verified.checkpoints
