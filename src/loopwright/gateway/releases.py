"""What this gateway serves: learned from the server, kept on its own disk, swapped without a gap."""

import gc
import logging
import threading
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from loopwright import data, serving
from loopwright.gateway.ingest import Labels
from loopwright.gateway.loading import Loader
from loopwright.gateway.runtime import DeploymentRuntime
from loopwright.governance import Token, projects, tokens
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import LoopwrightError
from loopwright.serving import Release, ReleaseFailure
from loopwright.wire.caller import VerbCaller

T = TypeVar("T")
log = logging.getLogger("loopwright.gateway")
POLL_S = 10.0
RETRY_S = 2.0
LEASE_S = 3.0
TRIES = 3
"""A release that cannot be loaded so often is reported; the old one serves on, and it is still tried."""
Name = tuple[str, str]
"""Project and deployment."""


class Known(msgspec.Struct):
    """What the server said last, beside releases: live tokens by digest, clocks by project, models served elsewhere."""

    tokens: dict[str, Token] = {}
    clocks: dict[str, str] = {}
    external: list[Name] = []
    personal: dict[str, list[str]] = {}
    """Columns that are left out of the log, by ``project/deployment`` of models served elsewhere."""
    tasks: dict[str, str] = {}
    """What models served elsewhere answer, by ``project/deployment``."""
    pushed: dict[str, list[str]] = {}
    """Columns that are left out of the log of pushes, by ``project/dataset``."""


class ReleaseKeeper:
    """Follows the server's releases, loads them, and swaps runtimes.

    Args:
        root: The gateway's folder.
        control: The server.
        loader: Loads releases.
        gateway: Name of this gateway.
        address: Where it answers.
    """

    def __init__(self, root: Path, control: VerbCaller, loader: Loader, gateway: str, address: str) -> None:
        self.runtimes: dict[Name, DeploymentRuntime] = {}
        self.known = Known()
        self.failures: dict[Name, str] = {}
        self.has_asked = False
        self.refreshes = 0
        self._folder, self._known_file = root / "releases", root / "known.json"
        self._control, self._loader = control, loader
        self._gateway, self._address = gateway, address
        self._position = 0
        self._waiting: dict[Name, Release] = {}
        self._tries: dict[Name, int] = {}
        self._reported: dict[Name, ReleaseFailure] = {}
        self._stopping = threading.Event()
        self._lease_lock = threading.Lock()

    def start(self) -> None:
        """Load what is on disk, then follow the server in threads."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.known = _read(self._known_file, Known) or Known()
        for path in sorted(self._folder.glob("*/*.json")):
            release = _read(path, Release)
            if release is not None and self._load(release):
                self._position = max(self._position, release.position)
        _settle()
        # What was loaded is kept; the server is asked for everything, in case this disk is behind.
        self._position = 0
        for name, loop in (("releases", self._follow), ("lease", self._keep_alive)):
            threading.Thread(target=loop, name=name, daemon=True).start()

    def stop(self) -> None:
        """Follow no longer."""
        self._stopping.set()

    def releases(self) -> list[Release]:
        """Return the releases that are live here."""
        return [runtime.release for runtime in list(self.runtimes.values())]

    def is_replay(self, project: str) -> bool:
        """Say whether a project's clock is replayed."""
        return self.known.clocks.get(project) == "replay"

    def labels_of(self, name: Name) -> Labels:
        """Return what labels of a deployment look like."""
        runtime = self.runtimes.get(name)
        if runtime is None:
            return Labels(self.known.tasks.get("/".join(name), ""))
        champion = runtime.release.variants[runtime.champion]
        return Labels(runtime.release.task, champion.signature.classes, are_ids_ours=True)

    def refresh(self) -> None:
        """Ask for tokens, clocks, external deployments and what is personal in pushes, and keep them.

        Raises:
            LoopwrightError: The server does not answer or refuses.
        """
        live = self._control.call(tokens.live)
        listed = self._control.call(projects.list_projects)
        external = self._control.call(serving.external_deployments)
        pushed = self._control.call(data.datasets.personal_columns)
        clocks = {project.name: project.clock for project in listed}
        personal = {f"{one.project}/{one.spec.name}": one.spec.personal for one in external}
        self.refreshes += 1
        tasks = {f"{one.project}/{one.spec.name}": one.spec.task for one in external}
        names = [(one.project, one.spec.name) for one in external]
        fresh = Known(live, dict(clocks), names, personal, tasks, pushed)
        if fresh != self.known:
            self.known = fresh
            _write(self._known_file, fresh)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = POLL_S if self.has_asked else 0
                wait_s = RETRY_S if self._waiting else wait_s
                self._take(self._control.waiting(wait_s).call(serving.releases_after, position=self._position))
                if not self.has_asked:
                    self.has_asked = True
                    self._acknowledge()
            except LoopwrightError as error:
                log.info("releases: %s", error)
                self._stopping.wait(RETRY_S if self.runtimes else 0.2)
            except Exception:
                # This thread must outlive anything a release brings.
                log.exception("following releases failed")
                self._stopping.wait(RETRY_S)

    def _take(self, found: list[Release]) -> None:
        for release in found:
            name = (release.project, release.deployment)
            self._waiting[name] = release
            self._tries.pop(name, None)
            self._reported.pop(name, None)
        before = self._position
        self._position = max([before, *(release.position for release in found)])
        if not self._waiting:
            return
        for name, release in list(self._waiting.items()):
            if self._load(release):
                del self._waiting[name]
                self._reported.pop(name, None)
                _write(self._folder / name[0] / f"{name[1]}.json", release)
            else:
                self._tries[name] = self._tries.get(name, 0) + 1
        _settle()
        self._loader.keep_only([*self.releases(), *self._waiting.values()])
        self._report()
        self._acknowledge()

    def _report(self) -> None:
        """Tell the server of releases that could not be loaded again and again, so that nobody waits for them."""
        for name, release in self._waiting.items():
            if name in self._reported or self._tries[name] < TRIES:
                continue
            failure = ReleaseFailure(self._gateway, *name, release.number, self.failures[name])
            self._control.within(release.project).call(
                serving.report_failure,
                gateway=self._gateway,
                deployment=name[1],
                number=release.number,
                why=failure.why,
            )
            self._reported[name] = failure

    def _load(self, release: Release) -> bool:
        name = (release.project, release.deployment)
        present = self.runtimes.get(name)
        if present is not None and present.release == release:
            return True
        try:
            runtime = self._loader.load(release)
        except Exception as error:  # noqa: BLE001 - models and user code may raise anything
            # The old release stays; the reason is told on /healthz and in the log.
            why = str(error) if isinstance(error, LoopwrightError) else f"{type(error).__name__}: {error}"
            if self.failures.get(name) != why:
                log.warning("release %s of %s/%s cannot be loaded: %s", release.number, *name, why)
            self.failures[name] = why
            return False
        self.failures.pop(name, None)
        self.runtimes = {**self.runtimes, name: runtime}
        return True

    def _keep_alive(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                if self.has_asked:
                    self._acknowledge()
                self.refresh()
            except LoopwrightError as error:
                log.info("lease: %s", error)
            except Exception:
                log.exception("renewing the lease failed")
            self._stopping.wait(max(0.1, LEASE_S - (time.monotonic() - started)))

    def _acknowledge(self) -> None:
        with self._lease_lock:
            reported = dict(self._reported)
            waiting = [release for name, release in list(self._waiting.items()) if name not in reported]
            position = min([self._position, *(release.position - 1 for release in waiting)])
            self._control.call(
                serving.acknowledge,
                gateway=self._gateway,
                address=self._address,
                position=position,
                failures=list(reported.values()),
            )


def _settle() -> None:
    """Put what was loaded beyond the reach of the garbage collector, whose full passes are the slowest requests."""
    gc.collect()
    gc.freeze()


def _write(place: Path, document: Any) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(".tmp")
    draft.write_bytes(to_json(document))
    draft.chmod(0o600)
    draft.replace(place)


def _read(place: Path, kind: type[T]) -> T | None:
    if not place.exists():
        return None
    try:
        return from_json(place.read_bytes(), kind, place.name)
    except LoopwrightError as error:
        log.warning("%s cannot be read and is ignored: %s", place, error)
        return None
