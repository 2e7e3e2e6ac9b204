"""The last act: faults planted on purpose. Each tells seconds to notice and to mend, and what was lost."""

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import polars as pl

from loopwright.cli.closing import read_log
from loopwright.cli.demo.setup import DEPLOYMENT, MODEL, PROJECT, Stage, load_module
from loopwright.cli.demo.year import ASKED
from loopwright.client import HttpCaller, Remote, Replay, Requests, Stream
from loopwright.config import load_settings
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, Unavailable
from loopwright.registry import importing
from loopwright.serving import CanaryStep

TRAFFIC_PAUSE_S = 0.05
GIVE_UP_S = 60.0
SETTLE_S = 20.0
_FAHRENHEIT = ("temp", "dewp")


@dataclass
class Scene:
    """What a fault needs: the project as an operator and as an approver, the data, and a way to kill the server."""

    remote: Remote
    approver: Remote
    ingest: ModuleType
    kill_server: Callable[[], None]


@dataclass
class Traffic:
    """Somebody who keeps asking for predictions while things break."""

    scene: Scene
    ids: list[str] = field(default_factory=list)
    refused: int = 0
    _is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Traffic":
        self.started_at = int(self.scene.remote.call("loop.status").clock_at)
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask(self) -> None:
        caller = HttpCaller(self.scene.remote.caller.url, self.scene.remote.caller.gateway_url)
        deployment = Remote(PROJECT, caller).deployment(DEPLOYMENT)
        number = 0
        while not self._is_over.is_set():
            number += 1
            row = {
                "flight_id": f"planted-{self.started_at}-{number}",
                "scheduled_at": self.started_at,
                "event_at": self.started_at,
                "carrier": "UA",
                "origin": "EWR",
                "dest": "ORD",
                "tailnum": "N37287",
                "distance": 719,
            }
            try:
                self.ids.append(str(deployment.predict([row])[0]["prediction_id"]))
            except LoopwrightError:
                self.refused += 1
            self._is_over.wait(TRAFFIC_PAUSE_S)

    def lost(self) -> int:
        """Return how many requests were refused, or answered but are not in the log.

        A gateway sends its spool as soon as it has found the server again, so the log is asked for a while.
        """
        deadline = time.monotonic() + SETTLE_S
        while True:
            log = read_log(self.scene.remote, DEPLOYMENT, self.started_at, self.started_at + 1)
            missing = len(set(self.ids) - set(log["prediction_id"]))
            if not missing or time.monotonic() > deadline:
                return self.refused + missing
            time.sleep(0.5)


def last_act(stage: Stage) -> list[dict[str, Any]]:
    """Plant every fault in turn; returns name, noticed_s, recovered_s and lost of each."""
    click.echo("")
    click.echo("Last act: faults planted on purpose, outside the year's figures.")
    scene = Scene(stage.remote, stage.signer, stage.ingest, lambda: stage.supervisor.kill("server"))
    return [result for fault in FAULTS.values() for result in fault(scene)]


def break_one(state: Path, name: str) -> None:
    """Plant one fault in a demo that is running on a state folder.

    Raises:
        InvalidInput: There is no such fault.
        Unavailable: No demo is running there.
    """
    if name not in FAULTS:
        raise InvalidInput("there is no such fault", field="--break", value=name, rule=f"one of {', '.join(FAULTS)}")
    settings = load_settings(state)
    if not settings.server_file.exists():
        raise Unavailable("no demo is running here", field="--state", value=str(state), next_step="loopwright demo")
    place = json.loads(settings.server_file.read_text())
    remote = Remote(PROJECT, HttpCaller(place["url"], place["gateway_url"]))
    made = remote.call("tokens.create", actor="policy:demo", role="approver")
    approver = Remote(PROJECT, HttpCaller(place["url"], place["gateway_url"], made.secret))
    ingest = load_module(settings.state_dir / "project" / "ingest.py")

    def kill_server() -> None:
        os.kill(int(json.loads(settings.server_file.read_text())["pids"]["server"]), signal.SIGKILL)

    FAULTS[name](Scene(remote, approver, ingest, kill_server))


def plant_celsius(scene: Scene) -> list[dict[str, Any]]:
    """Weather arrives in Celsius: the version is quarantined and the one before goes on serving."""
    weather = scene.ingest.read_weather(scene.ingest.package_files())
    newest = scene.remote.call("data.get", dataset="weather")
    number = (newest.latest or 0) + 1
    last = weather.filter(pl.col("observed_at") >= pl.col("observed_at").max() - pl.duration(days=1))
    celsius = last.with_columns(
        pl.col("observed_at") + pl.duration(days=number), *((pl.col(name) - 32) * 5 / 9 for name in _FAHRENHEIT)
    )
    with Traffic(scene) as traffic:
        started = time.monotonic()
        job = scene.remote.dataset("weather").append(celsius, reason="planted: the feed switched to Celsius")
        result = _wait(lambda: scene.remote.call("data.import_result", job_id=job.job_id))
        noticed = time.monotonic() - started
        if result.state != "quarantined":
            raise InvalidInput("the planted weather was not noticed", value=result.state)
        serving = scene.remote.call("data.get_version", dataset="weather").version
        recovered = time.monotonic() - started
    return [
        _tell("celsius", f"quarantined, version {serving} serves on: {result.message}", noticed, recovered, traffic)
    ]


def plant_bad_model(scene: Scene) -> list[dict[str, Any]]:
    """A model that always says 20 %: held by the gates, forced, refused in shadow; forced past shadow, rolled back."""
    version = _import_badly(scene)
    with Traffic(scene) as traffic:
        started = time.monotonic()
        scene.approver.call(
            "loop.deploy", deployment=DEPLOYMENT, version=version, force_reason="planted: forced past its gates"
        )
        _approve(scene)
        verdict = _replay_until_judged(scene)
        noticed = time.monotonic() - started
    told = [_tell("bad model in shadow", f"refused: {verdict}", noticed, noticed, traffic)]
    with Traffic(scene) as traffic:
        started = time.monotonic()
        scene.approver.call(
            "serving.start_rollout",
            deployment=DEPLOYMENT,
            version=version,
            reason="planted: forced again, past shadow",
            forced_reason="planted",
            steps=[CanaryStep(weight=0.25, hold_us=6 * HOUR_US, guard=["error_rate"], least_rows=20)],
        )
        _approve(scene)
        scene.remote.advance(scene.remote.call("loop.status").clock_at)
        noticed = time.monotonic() - started
        scene.approver.call("loop.rollback", deployment=DEPLOYMENT, reason="planted: it says 20 % to everybody")
        scene.remote.advance(scene.remote.call("loop.status").clock_at)
        recovered = time.monotonic() - started
    told.append(_tell("bad model in canary", "rolled back to the last good release", noticed, recovered, traffic))
    return told


def plant_killed_server(scene: Scene) -> list[dict[str, Any]]:
    """The control plane is killed with -9: predictions go on, and nothing acknowledged is missing afterwards."""
    with Traffic(scene) as traffic:
        time.sleep(1.0)
        started = time.monotonic()
        scene.kill_server()
        _wait(lambda: not _is_up(scene))
        noticed = time.monotonic() - started
        _wait(lambda: _is_up(scene))
        recovered = time.monotonic() - started
        time.sleep(1.0)
    return [_tell("server killed", f"{len(traffic.ids)} predictions answered meanwhile", noticed, recovered, traffic)]


FAULTS: dict[str, Callable[[Scene], list[dict[str, Any]]]] = {
    "celsius": plant_celsius,
    "bad-model": plant_bad_model,
    "kill-server": plant_killed_server,
}


def _import_badly(scene: Scene) -> int:
    """Register a model that always says 20 %, and show that it does not get into traffic by itself."""
    champion = scene.remote.call("registry.get_version", model=MODEL, alias="champion")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "always-20-percent.json"
        file.write_text('{"value": 0.2}')
        version = importing.import_model(
            scene.remote.caller,
            PROJECT,
            model=MODEL,
            file=file,
            task="binary",
            columns=champion.signature.inputs,
            flavour="constant",
            service=champion.service,
        )
    try:
        scene.approver.call("loop.deploy", deployment=DEPLOYMENT, version=version.version, reason="planted")
    except Conflict as error:
        click.echo(f"  the gates held: {error.message}")
    return version.version


def _approve(scene: Scene) -> None:
    for waiting in scene.remote.call("approvals.list", state="waiting"):
        scene.approver.call("approvals.approve", approval_id=waiting.approval_id, reason="planted by the demo")
    scene.remote.advance(scene.remote.call("loop.status").clock_at)


def _replay_until_judged(scene: Scene) -> str:
    """Let the year's last week of flights happen once more, later, until the rollout is judged; returns the verdict."""
    flights = scene.ingest.read_flights(scene.ingest.package_files())
    clock_at = int(scene.remote.call("loop.status").clock_at)
    week = flights.filter(pl.col("scheduled_at") >= pl.col("scheduled_at").max() - pl.duration(days=9))
    first = int(week["scheduled_at"].dt.epoch("us").min())
    shift = pl.duration(microseconds=(clock_at - first) // HOUR_US * HOUR_US + HOUR_US)
    again = week.with_columns(
        pl.col("scheduled_at") + shift,
        pl.col("landed_at") + shift,
        flight_id=pl.format("{}-again-{}", "flight_id", pl.lit(clock_at)),
    )
    known = again.with_columns(settled_at=scene.ingest.settled_at(again))
    asked = again.select(*ASKED, event_at="scheduled_at", is_late=pl.col("arr_delay") > 15, landed_at="landed_at")
    replay = Replay(
        scene.remote,
        DEPLOYMENT,
        [Stream("flights", known, "settled_at")],
        Requests(asked, event_at="event_at", label="is_late", label_at="landed_at"),
    )
    for _ in replay.run(clock_at, clock_at + 9 * DAY_US, day_starts_at=clock_at):
        rollout = scene.remote.call("serving.rollouts", deployment=DEPLOYMENT, limit=1)[0]
        if rollout.state == "aborted":
            verdicts = [verdict.message for verdict in rollout.verdicts if verdict.verdict == "abort"]
            return str(verdicts[0]) if verdicts else "aborted"
    raise Unavailable("the planted model was not judged", value=MODEL)


def _wait(read: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        found = read()
        if found:
            return found
        time.sleep(0.02)
    raise Unavailable("what was planted had no effect in time")


def _is_up(scene: Scene) -> bool:
    try:
        return bool(scene.remote.call("loop.status"))
    except LoopwrightError:
        return False


def _tell(name: str, what: str, noticed: float, recovered: float, traffic: Traffic) -> dict[str, Any]:
    lost = traffic.lost()
    click.echo(f"  {name}: {what}")
    click.echo(
        f"      noticed after {noticed:.1f} s, recovered after {recovered:.1f} s; "
        f"{len(traffic.ids)} predictions meanwhile, {lost or 'none'} lost"
    )
    return {"name": name, "noticed_s": round(noticed, 2), "recovered_s": round(recovered, 2), "lost": lost}
