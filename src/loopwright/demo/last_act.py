"""The last act: faults planted on purpose. Each tells seconds to notice and to mend, and what was lost."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import polars as pl

from loopwright.client import HttpCaller, Remote
from loopwright.config import load_settings
from loopwright.demo.notes import Notes, load_notes
from loopwright.demo.scene import LAST_DAYS, Scene, Traffic
from loopwright.demo.setup import DEPLOYMENT, MODEL, PROJECT, Stage, load_module, signing
from loopwright.kernel.clock import DAY_US, HOUR_US, format_duration
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, Unavailable
from loopwright.kernel.events import Event
from loopwright.registry import importing
from loopwright.serving import CanaryStep, Rollout

GIVE_UP_S = 60.0
PAST_SHADOW = CanaryStep(0.25, 6 * HOUR_US, ["error_rate", "latency_p99", "roc_auc"], least_rows=20)
"""Without a shadow before it, the canary itself has to watch quality."""
_FAHRENHEIT = ("temp", "dewp")
Told = dict[str, Any]


def last_act(stage: Stage, notes: Notes) -> list[Told]:
    """Plant every fault in turn; returns name, noticed_s, recovered_s and lost of each. It is played once."""
    click.echo("")
    if notes.planted is not None:
        click.echo("The last act was played already; loopwright demo --break plants one fault again.")
        return notes.planted
    click.echo("Last act: faults planted on purpose, outside the year's figures.")
    notes.planted = []
    with stage.signing() as signer:
        scene = Scene(stage.remote, signer, stage.ingest, lambda: stage.supervisor.kill("server"))
        for plant in FAULTS.values():
            notes.save(stage.state)
            notes.planted += plant(scene)
    notes.save(stage.state)
    return notes.planted


def break_one(state: Path, name: str) -> None:
    """Plant one fault in a demo that is running on a state folder.

    Raises:
        InvalidInput: There is no such fault.
        Unavailable: No demo is running there.
        Conflict: It still replays the year.
    """
    if name not in FAULTS:
        raise InvalidInput("there is no such fault", field="--break", value=name, rule=f"one of {', '.join(FAULTS)}")
    settings = load_settings(state)
    if not settings.server_file.exists():
        raise Unavailable("no demo is running here", field="--state", value=str(state), next_step="loopwright demo")
    notes = load_notes(settings.state_dir)
    if notes.replay is None or notes.played_until < notes.ends_at:
        raise Conflict("this demo still replays the year", field="--break", next_step="wait for its closing table")
    notes.planted = notes.planted or []
    notes.save(settings.state_dir)
    place = json.loads(settings.server_file.read_text())
    remote = Remote(PROJECT, HttpCaller(place["url"], place["gateway_url"]))
    ingest = load_module(settings.state_dir / "project" / "ingest.py")

    def kill_server() -> None:
        os.kill(int(json.loads(settings.server_file.read_text())["pids"]["server"]), signal.SIGKILL)

    with signing(remote, place["url"], place["gateway_url"]) as signer:
        FAULTS[name](Scene(remote, signer, ingest, kill_server))


def plant_celsius(scene: Scene) -> list[Told]:
    """Weather arrives in Celsius: the version is quarantined and the one before serves on, until the feed is mended."""
    weather = scene.ingest.read_weather(scene.ingest.package_files())
    newest = scene.remote.call("data.get", dataset="weather")
    number = (newest.latest or 0) + 1
    last = weather.filter(pl.col("observed_at") >= pl.col("observed_at").max() - pl.duration(days=1))
    fahrenheit = last.with_columns(pl.col("observed_at") + pl.duration(days=number))
    celsius = fahrenheit.with_columns((pl.col(name) - 32) * 5 / 9 for name in _FAHRENHEIT)
    with Traffic(scene) as traffic:
        started = time.monotonic()
        job = scene.remote.dataset("weather").append(celsius, reason="planted: the feed switched to Celsius")
        result = _wait(lambda: scene.remote.call("data.import_result", job_id=job.job_id))
        noticed = time.monotonic() - started
        if result.state != "quarantined":
            raise InvalidInput("the planted weather was not noticed", value=result.state)
        serving = scene.remote.call("data.get_version", dataset="weather").version
        recovered = time.monotonic() - started
        time.sleep(0.5)
    # A dataset whose newest version is in quarantine holds up every retrain, rightly.
    mended = scene.remote.dataset("weather").append(fahrenheit, reason="planted: the feed is mended")
    _wait(lambda: scene.remote.call("data.import_result", job_id=mended.job_id))
    what = f"quarantined, version {serving} of weather serves on: {result.message}"
    return [_tell("celsius", what, noticed, recovered, traffic)]


def plant_bad_model(scene: Scene) -> list[Told]:
    """A model that always says 20 %: held by the gates; forced, refused in shadow; forced past shadow, rolled back."""
    _make_room(scene)
    version = _import_badly(scene)
    with Traffic(scene) as traffic:
        in_shadow = scene.approver.call(
            "loop.deploy", deployment=DEPLOYMENT, version=version, force_reason="planted: forced past its gates"
        )
        told = [_tell_aborted(scene, traffic, in_shadow, "bad model in shadow", "refused")]
    with Traffic(scene) as traffic:
        in_canary = scene.approver.call(
            "serving.start_rollout",
            deployment=DEPLOYMENT,
            version=version,
            reason="planted: forced again, past shadow",
            forced_reason="planted",
            steps=[PAST_SHADOW],
        )
        told.append(_tell_aborted(scene, traffic, in_canary, "bad model in canary", "rolled back by its guard"))
    return told


def plant_killed_server(scene: Scene) -> list[Told]:
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


FAULTS: dict[str, Callable[[Scene], list[Told]]] = {
    "celsius": plant_celsius,
    "bad-model": plant_bad_model,
    "kill-server": plant_killed_server,
}


def _make_room(scene: Scene) -> None:
    """End a rollout that is under way: a deployment has at most one."""
    for rollout in scene.remote.call("serving.rollouts", deployment=DEPLOYMENT, limit=1):
        if rollout.finished_at is None:
            reason = "makes room for the last act"
            scene.approver.call("serving.abort", rollout_id=rollout.rollout_id, reason=reason)
    scene.remote.advance(scene.clock_at())


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
    # The same file is the same version: planted once more, it has been forced past its gates already.
    if not scene.remote.call("registry.gate_reports", model=MODEL, version=version.version):
        try:
            scene.approver.call("loop.deploy", deployment=DEPLOYMENT, version=version.version, reason="planted")
        except Conflict as error:
            click.echo(f"  the gates held: {error.message}")
    return version.version


def _tell_aborted(scene: Scene, traffic: Traffic, rollout: Rollout, name: str, what: str) -> Told:
    """Let flights happen until the platform ends a rollout by itself; tell when, by its own events."""
    caller = scene.remote.caller
    # Who forced a version leaves the decision to somebody else.
    with signing(scene.remote, caller.url, caller.gateway_url, actor="person:second") as second:
        for waiting in scene.remote.call("approvals.list", state="waiting"):
            second.call("approvals.approve", approval_id=waiting.approval_id, reason="planted by the demo")
    scene.remote.advance(scene.clock_at())
    ended = _replay_until_aborted(scene, rollout.rollout_id)
    # A caller may have got an answer of the version after the decision: until gateways had left it.
    left_at = max(ended.recorded_at, traffic.last_by_version.get(rollout.version, 0))
    noticed, recovered = ((at_us - rollout.recorded_at) / 1e6 for at_us in (ended.recorded_at, left_at))
    after = format_duration((ended.event_at - rollout.event_at) // HOUR_US * HOUR_US)
    return _tell(name, f"{what} after {after} of flights: {ended.reason}", noticed, recovered, traffic)


def _replay_until_aborted(scene: Scene, rollout_id: str) -> Event:
    """Let the year's last flights happen once more until the rollout is aborted; returns the event."""
    replay, clock_at = scene.repeat_last_days(), scene.clock_at()
    for _ in replay.run(clock_at, clock_at + LAST_DAYS * DAY_US, day_starts_at=clock_at):
        if scene.remote.call("serving.get_rollout", rollout_id=rollout_id).state == "aborted":
            events: list[Event] = scene.remote.call("audit.list", type_prefix="serving.rollout_aborted", limit=10)
            return next(event for event in events if event.payload["rollout_id"] == rollout_id)
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
    """Ask once: the scene's own caller would wait for the restart, which is what is timed here."""
    caller = HttpCaller(scene.remote.caller.url, token=scene.remote.caller.token)
    try:
        return bool(caller.call("loop.status", {}, PROJECT))
    except LoopwrightError:
        return False
    finally:
        caller.close()


def _tell(name: str, what: str, noticed: float, recovered: float, traffic: Traffic) -> Told:
    traffic.stop()
    lost = traffic.lost()
    click.echo(f"  {name}: {what}")
    click.echo(
        f"      noticed after {noticed:.1f} s, recovered after {recovered:.1f} s; "
        f"{len(traffic.ids)} predictions meanwhile, {lost or 'none'} lost"
    )
    return {"name": name, "noticed_s": round(noticed, 2), "recovered_s": round(recovered, 2), "lost": lost}
