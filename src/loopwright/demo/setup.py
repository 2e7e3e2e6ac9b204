"""The stage of the demo: data, processes, the applied project, the first model."""

import contextlib
import importlib.util
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import msgspec

from loopwright.cli import Progress, example_folder, follow_execution, load_project
from loopwright.client import HttpCaller, Remote, apply_project
from loopwright.config import load_settings
from loopwright.kernel.clock import DAY_US, format_moment, parse_moment
from loopwright.kernel.errors import Conflict, LoopwrightError, NotFound, StepFailed, Unavailable
from loopwright.registry import ModelVersion
from loopwright.server import Supervisor

PROJECT, DEPLOYMENT, MODEL = "flights", "late", "late"
YARDSTICKS = ("frozen", "calendar")
START_AT = parse_moment("2013-03-01T05:00:00Z")
END_AT = parse_moment("2014-01-01T05:00:00Z")
LABELS_UNTIL = parse_moment("2014-01-02T05:00:00Z")
"""The last flight of the year lands on January 1; its label closes the year."""

_MEMORY_EVERY_S = 2.0


def end_of(days: int | None) -> int:
    """Return the moment a replay of so many days ends; the year's end at the latest."""
    return END_AT if days is None else min(END_AT, START_AT + days * DAY_US)


def load_module(path: Path) -> ModuleType:
    """Import one file of the example under its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def signing(remote: Remote, server_url: str, gateway_url: str, actor: str = "person:demo") -> Iterator[Remote]:
    """Lend an approver of the demo's own, so that the audit trail shows who signed; its token ends with the block."""
    made = remote.call("tokens.create", actor=actor, role="approver", expires_in="1h")
    try:
        yield Remote(PROJECT, HttpCaller(server_url, gateway_url, made.secret))
    finally:
        with contextlib.suppress(LoopwrightError):
            remote.call("tokens.revoke", token_id=made.token.token_id, reason="the demo has signed")


class Stage:
    """A running demo: processes, callers, data and the place of its notes.

    Args:
        state: The state folder, ``./.loopwright-demo``.
    """

    def __init__(self, state: Path) -> None:
        self.state = state.absolute()
        self.folder = self.state / "project"
        self.supervisor = Supervisor(msgspec.structs.replace(load_settings(self.state), source_roots=(self.folder,)))
        self.remote: Remote
        self.ingest: ModuleType
        self._peak_kb = 0
        self._is_over = threading.Event()

    def start(self) -> None:
        """Start the processes and look after them in the background."""
        self.supervisor.start()
        caller = HttpCaller(self.supervisor.server_url, self.supervisor.gateway_url)
        self.remote = Remote(PROJECT, caller)
        for watch in (self._watch, self._measure):
            threading.Thread(target=watch, daemon=True).start()

    def stop(self) -> None:
        """End the processes."""
        self._is_over.set()
        self.supervisor.stop()

    def serve(self) -> None:
        """Keep serving until Ctrl C."""
        click.echo("Ctrl C stops")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(1)

    def prepare(self, *, ask: bool) -> None:
        """Apply the project, train and release the first model; a second run finds it done."""
        self._write_data()
        started = time.monotonic()
        project = load_project(self.folder / "flights.py")
        applied = apply_project(project, None, self.remote.caller)
        news = sum(change.change == "new" for change in applied.plan.changes)
        self._wait_for_datasets()
        if news:
            click.echo(f"applied {news} declarations; January and February are in ({time.monotonic() - started:.0f} s)")
        if self._find("champion") is None:
            self._release_first_model(ask=ask)
        if any(self._find(alias) is None for alias in YARDSTICKS):
            self._set_yardsticks(who="you" if ask else "person:demo")

    def signing(self) -> AbstractContextManager[Remote]:
        """Return the demo's own approver, see ``signing``."""
        return signing(self.remote, self.supervisor.server_url, self.supervisor.gateway_url)

    def peak_rss_mb(self) -> int:
        """Return the largest memory that the demo's processes held together so far, in MB."""
        return self._peak_kb // 1024

    def _write_data(self) -> None:
        source = example_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("flights.py", "ingest.py"):
            if not (self.folder / name).exists():
                shutil.copy(source / name, self.folder / name)
        self.ingest = load_module(self.folder / "ingest.py")
        if not (self.folder / "data").exists():
            files, draft = self.ingest.package_files(), self.folder / "data.draft"
            self.ingest.write_history(draft, self.ingest.read_flights(files), self.ingest.read_weather(files))
            draft.replace(self.folder / "data")

    def _wait_for_datasets(self) -> None:
        """Wait for the first import of each dataset; what else has failed on this state is no concern of the demo."""
        deadline = time.monotonic() + 120
        while self.remote.call("jobs.list", states=["queued", "running"]):
            if time.monotonic() > deadline:
                raise Unavailable("the first import does not end", next_step="loopwright logs worker")
            time.sleep(0.05)
        for job in self.remote.call("jobs.list", states=["failed"], kind="data.import"):
            if not self.remote.call("data.versions", dataset=job.args["spec"]["name"], limit=1):
                raise StepFailed((job.error or {}).get("message", "an import failed"), value=job.kind)

    def _find(self, alias: str) -> Any:
        try:
            return self.remote.call("registry.get_version", model=MODEL, alias=alias)
        except NotFound:
            return None

    def _release_first_model(self, *, ask: bool) -> None:
        """Train the first model and let it be approved; one that waits for approval already is not trained again."""
        if not self.remote.call("approvals.list", state="waiting"):
            execution = self.remote.call("pipelines.start", pipeline="fit", params={}, reason="the first model")
            execution = follow_execution(self.remote, execution.execution_id)
            if execution.state != "done":
                raise StepFailed((execution.error or {}).get("message", "the first training failed"))
        approval = self._wait_for_question()
        if ask:
            click.echo(f"the first release waits for you: loopwright approve {approval.approval_id} --reason ...")
            click.echo(f"  or on {self.supervisor.server_url}/p/{PROJECT}/approvals")
        else:
            with self.signing() as signer:
                signer.call("approvals.approve", approval_id=approval.approval_id, reason="signed by the demo itself")
        progress, deadline = Progress(), time.monotonic() + (86_400 if ask else 60)
        while self._find("champion") is None:
            progress.show("waiting for the first release")
            if ask:
                self._end_if_rejected(approval.approval_id)
            if time.monotonic() > deadline:
                raise Unavailable(
                    "the first release does not come", next_step="loopwright status, loopwright logs server"
                )
            time.sleep(0.1)
        progress.done()

    def _end_if_rejected(self, approval_id: str) -> None:
        for decided in self.remote.call("approvals.list", state="rejected"):
            if decided.approval_id == approval_id:
                step = f"loopwright deploy {DEPLOYMENT} --version N -p {PROJECT} asks anew; or start over: --reset"
                message = f"{decided.decided_by} rejected the first release: {decided.reason}"
                raise Conflict(message, field="approval", value=approval_id, next_step=step)

    def _set_yardsticks(self, who: str) -> None:
        """Let the first model run unseen beside what is served, once as it is and once retrained blindly."""
        champion = self._find("champion")
        self.remote.advance(START_AT)
        for alias in YARDSTICKS:
            self.remote.call(
                "registry.set_alias", model=MODEL, alias=alias, version=champion.version, reason="yardstick of the demo"
            )
        self.remote.advance(START_AT)
        click.echo(tell_first(champion, who))

    def _wait_for_question(self) -> Any:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            waiting = self.remote.call("approvals.list", state="waiting")
            if waiting:
                return waiting[0]
            time.sleep(0.05)
        told = self.remote.call("audit.list", type_prefix="loop.trained", limit=1)
        raise StepFailed(
            "the first model did not pass its gates", value=told[0].reason if told else "it was not judged"
        )

    def _watch(self) -> None:
        while not self._is_over.wait(0.2):
            self.supervisor.look()

    def _measure(self) -> None:
        while not self._is_over.wait(_MEMORY_EVERY_S):
            self._peak_kb = max(self._peak_kb, tree_rss_kb(os.getpid()))


def tell_first(version: ModelVersion, who: str) -> str:
    """Return what serves first, and why its number may not be the first."""
    told = (
        f"version {version.version} of {version.model}, trained on January and February, approved by {who}, serves "
        f"from {format_moment(START_AT)}"
    )
    if version.refit_of is None:
        return told
    return (
        f"{told}\n  (version {version.refit_of} passed the gates on rows that were held out; "
        f"version {version.version} repeats its recipe on all rows)"
    )


def tree_rss_kb(pid: int) -> int:
    """Return the resident memory of a process and all its descendants, in kB (Linux; 0 elsewhere)."""
    total = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += tree_rss_kb(int(child))
    return total


@contextlib.contextmanager
def open_stage(state: Path) -> Iterator[Stage]:
    """Start a stage and end its processes afterwards."""
    stage = Stage(state)
    stage.start()
    try:
        yield stage
    finally:
        stage.stop()
