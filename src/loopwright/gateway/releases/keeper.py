"""What this gateway serves: learned from the server, kept on its own disk, swapped without a gap."""

import gc
import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import msgspec

from loopwright import data, serving
from loopwright.gateway.answering.inputs import RowKey
from loopwright.gateway.answering.runtime import champion_place
from loopwright.gateway.disk import read_document, write_document
from loopwright.gateway.pauses import ChildCrashed
from loopwright.gateway.releases.bars import ReleaseBarred
from loopwright.gateway.releases.faults import Fault, fault_of
from loopwright.gateway.releases.known import KNOWN_FILE, Known, Name
from loopwright.gateway.releases.launching import Launcher, Served
from loopwright.gateway.taking.ingest import Labels
from loopwright.governance import projects, tokens
from loopwright.kernel.backoff import backoff_s
from loopwright.kernel.errors import LoopwrightError
from loopwright.serving import Release, ReleaseFailure, Trouble
from loopwright.wire.caller import VerbCaller

log = logging.getLogger("loopwright.gateway")
POLL_S = 10.0
RETRY_S = 2.0
LONGEST_RETRY_S = 60.0
LEASE_S = 3.0
CATCH_UP_S = 2.0
"""How long a gateway that starts waits for word of newer releases before it serves those on its disk."""
TRIES = 3
"""A release that cannot be loaded so often is reported; the old one serves on, and it is still tried."""


class Waiting(msgspec.Struct):
    """A release that is still to be loaded: how often it was tried, and when it is tried next (monotonic seconds)."""

    release: Release
    tries: int = 0
    due_at: float = 0.0


class ReleaseKeeper:
    """Follows the server's releases, has them launched, and swaps what serves.

    Args:
        root: The gateway's folder.
        control: The server.
        launcher: Brings releases up.
        gateway: Name of this gateway.
        address: Where it answers.
        is_well: Says whether this gateway answers at all; one that does not renews no lease.
        look: Looks for troubles, which the server is told of.
        let_go: Removes what the disk holds of projects that were deleted, and of others that were closed.
        tell_denials: Tells the server, in the projects that there are, of calls that were refused.
    """

    def __init__(
        self,
        root: Path,
        control: VerbCaller,
        launcher: Launcher,
        gateway: str,
        address: str,
        is_well: Callable[[], bool] = lambda: True,
        look: Callable[[], list[Trouble]] = list,
        let_go: Callable[[Collection[str], Collection[str]], None] = lambda deleted, closed: None,
        tell_denials: Callable[[VerbCaller, Collection[str]], None] = lambda control, projects: None,
    ) -> None:
        self.served: dict[Name, Served] = {}
        self.known = Known()
        self.failures: dict[Name, Fault] = {}
        self.retired: dict[Name, Release] = {}
        """Releases that ended an endpoint: labels of what it answered still come."""
        self.has_asked = False
        self.refreshes = 0
        self._folder, self._known_file = root / "releases", root / KNOWN_FILE
        self._control, self._launcher, self._is_well = control, launcher, is_well
        self._gateway, self._address, self._look, self._let_go = gateway, address, look, let_go
        self._tell_denials = tell_denials
        self._troubles: list[Trouble] = []
        self._position = 0
        self._waiting: dict[Name, Waiting] = {}
        self._kept: dict[Name, Release] = {}
        """What this disk had at the start; it serves where the newest release cannot be loaded."""
        self._reported: dict[Name, ReleaseFailure] = {}
        self._stopping = threading.Event()
        self._lease_lock, self._disk_lock, self._known_lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._questions, self._newest_asked = itertools.count(1), 0
        self._unwritten: dict[Path, Known | Release] = {}
        """What the disk has not taken yet."""

    def recover(self) -> None:
        """Read what is on the disk; it is launched once ``start`` is called."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.known = read_document(self._known_file, Known) or Known()
        for path in sorted(self._folder.glob("*/*.json")):
            release = read_document(path, Release)
            if release is not None:
                self._expect(release)
                self._kept[release.project, release.deployment] = release

    def start(self) -> None:
        """Launch what is on disk and follow the server, in threads."""
        loops = (("releases", self._follow), ("lease", self._keep_alive), ("leftovers", self._keep_clear))
        for name, loop in loops:
            threading.Thread(target=loop, name=name, daemon=True).start()

    def stop(self) -> None:
        """Follow no longer."""
        self._stopping.set()

    def releases(self) -> list[Release]:
        """Return the releases that are live here."""
        return [served.release for served in list(self.served.values())]

    def is_expected(self, name: Name) -> bool:
        """Say whether a deployment that serves nothing yet may do so in a moment."""
        waiting = self._waiting.get(name)
        return waiting is not None and waiting.tries == 0 and name not in self.served

    def is_launching(self, project: str) -> bool:
        """Say whether a deployment of a project that serves nothing yet may do so in a moment."""
        return any(self.is_expected(name) for name in list(self._waiting) if name[0] == project)

    def is_replay(self, project: str) -> bool:
        """Say whether a project's clock is replayed."""
        return self.known.clocks.get(project) == "replay"

    def labels_of(self, name: Name) -> Labels:
        """Return what labels of a deployment look like."""
        served, waiting = self.served.get(name), self._waiting.get(name)
        coming = self.retired.get(name) if waiting is None else waiting.release
        release = coming if served is None else served.release
        if release is None:
            return Labels(self.known.tasks.get("/".join(name), ""))
        champion = release.variants[champion_place(release)]
        key = RowKey.of(release.plans.get(champion.plan), release.personal)
        return Labels(release.task, champion.signature.classes, are_ids_ours=True, key=key)

    def refresh(self, control: VerbCaller | None = None) -> None:
        """Ask for tokens, clocks, external deployments and what is personal in pushes, and keep them.

        Threads ask beside each other. What was asked for before something that is kept already is let go of: it may not
        know yet of a token that was revoked.

        Raises:
            LoopwrightError: The server does not answer or refuses.
        """
        control, asked = control or self._control, next(self._questions)
        live = control.call(tokens.live)
        listed = control.call(projects.list_projects, with_closed=True)
        external = control.call(serving.external_deployments)
        pushed = control.call(data.datasets.personal_columns)
        read = control.call(data.datasets.topics)
        clocks = {project.name: project.clock for project in listed}
        personal = {f"{each.project}/{each.spec.name}": each.spec.personal for each in external}
        tasks = {f"{each.project}/{each.spec.name}": each.spec.task for each in external}
        names = [(each.project, each.spec.name) for each in external]
        closed = [project.name for project in listed if project.closed_at is not None]
        deleted = [project.name for project in listed if project.deleted_at is not None]
        fresh = Known(live, dict(clocks), closed, deleted, names, personal, tasks, pushed, read)
        with self._known_lock:
            if asked < self._newest_asked:
                return
            self._newest_asked = asked
            self.refreshes += 1
            if fresh == self.known:
                return
            self.known = fresh
            self._unwritten[self._known_file] = fresh
        self._write_rest()

    def _write(self, path: Path, document: Known | Release) -> None:
        """Keep a document; one that the disk does not take counts all the same, and is written as soon as it does."""
        self._unwritten[path] = document
        self._write_rest()

    def _write_rest(self) -> None:
        with self._disk_lock:
            for path, document in list(self._unwritten.items()):
                try:
                    write_document(path, document)
                except OSError as error:  # the disk is a trouble of its own, which is told
                    log.info("%s cannot be written: %s", path, error)
                    return
                if self._unwritten.get(path) is document:
                    del self._unwritten[path]

    def _follow(self) -> None:
        self._catch_up()
        self._launch_due()
        while not self._stopping.is_set():
            try:
                wait_s = POLL_S if self.has_asked else 0
                self._ask(self._control.waiting(RETRY_S if self._waiting else wait_s))
            except LoopwrightError as error:
                log.info("releases: %s", error)
                self._stopping.wait(RETRY_S if self.served else 0.2)
            except Exception:
                # This thread must outlive anything a release brings.
                log.exception("following releases failed")
                self._stopping.wait(RETRY_S)

    def _catch_up(self) -> None:
        """Ask for what is newer than this disk before that is launched, so that no answer is older than another's.

        Where no server answers at once, what is on the disk serves.
        """
        for ask in (self.refresh, self._ask):
            try:
                ask(replace(self._control, timeout_s=CATCH_UP_S))
            except Exception as error:  # noqa: BLE001 - what is on the disk must be launched whatever comes
                log.info("nobody said what is newer than this disk: %s", error)

    def _ask(self, control: VerbCaller) -> None:
        """Take up what came after the newest release known; at first that is everything."""
        self._take(control.call(serving.releases_after, position=self._position))
        if not self.has_asked:
            self.has_asked = True
            self._acknowledge()

    def _take(self, releases: list[Release]) -> None:
        for release in releases:
            self._expect(release)
            self._reported.pop((release.project, release.deployment), None)
        self._position = max([self._position, *(release.position for release in releases)])
        self._end_deleted()
        if not self._waiting and not releases:
            return
        self._launch_due()
        _settle()
        self._launcher.keep_only([*self.releases(), *(waiting.release for waiting in self._waiting.values())])
        self._report()
        self._acknowledge()

    def _end_deleted(self) -> None:
        """Let go of what deleted projects served: whoever was away then finds no release that says so."""
        for name in [name for name in (*self.served, *self._waiting) if name[0] in self.known.deleted]:
            self._waiting.pop(name, None)
            self._kept.pop(name, None)
            self._retire(name)

    def _expect(self, release: Release) -> None:
        """Take note of a release: one that serves is launched next, one that ends an endpoint lets go of it."""
        name = (release.project, release.deployment)
        self.retired.pop(name, None)
        if not release.is_retired:
            self._waiting[name] = Waiting(release)
            return
        self.retired[name] = release
        self._waiting.pop(name, None)
        self._retire(name)
        self._write(self._folder / name[0] / f"{name[1]}.json", release)

    def _retire(self, name: Name) -> None:
        before = self.served.get(name)
        self.failures.pop(name, None)
        if before is not None:
            self.served = {key: served for key, served in self.served.items() if key != name}
            self._launcher.retire(before)

    def _launch_due(self) -> None:
        for name, waiting in list(self._waiting.items()):
            if waiting.due_at > time.monotonic() or self._stopping.is_set():
                continue
            if self._launch(waiting):
                del self._waiting[name]
                self._reported.pop(name, None)
                self._write(self._folder / name[0] / f"{name[1]}.json", waiting.release)
            elif name not in self.served:
                self._launch_kept(name, waiting.release)
            if name in self.served:
                self._kept.pop(name, None)

    def _launch_kept(self, name: Name, newest: Release) -> None:
        kept = self._kept.get(name)
        if kept is not None and not kept.is_retired and kept != newest:
            why = self.failures[name]
            self._launch(Waiting(kept))
            self.failures[name] = why  # what is told is why the newest one does not serve

    def _report(self) -> None:
        """Tell the server of releases that could not be loaded again and again, so that nobody waits for them."""
        for name, waiting in self._waiting.items():
            if name in self._reported or waiting.tries < TRIES:
                continue
            fault, number = self.failures[name], waiting.release.number
            failure = ReleaseFailure(
                self._gateway, *name, number, fault.why, next_step=fault.next_step, is_of_store=fault.is_of_store
            )
            self._control.within(name[0]).call(
                serving.report_failure,
                gateway=self._gateway,
                deployment=name[1],
                number=failure.number,
                why=failure.why,
            )
            self._reported[name] = failure

    def _launch(self, waiting: Waiting) -> bool:
        release = waiting.release
        name = (release.project, release.deployment)
        before = self.served.get(name)
        if before is not None and before.release == release:
            return True
        try:
            served = self._launcher.launch(release, before)
        except Exception as error:  # noqa: BLE001 - models and user code may raise anything
            # The old release stays; the reason is told on /healthz, in the log and after some tries to the server.
            fault = fault_of(error)
            if self.failures.get(name) != fault:
                log.warning("release %s of %s/%s cannot be loaded: %s", release.number, *name, fault.why)
            self.failures[name] = fault
            # What has crashed a process will do so again, and is told at once.
            is_lost = isinstance(error, ReleaseBarred) or (isinstance(error, ChildCrashed) and error.is_own_fault)
            waiting.tries = TRIES if is_lost else waiting.tries + 1
            delay_s = LONGEST_RETRY_S if is_lost else backoff_s(waiting.tries - TRIES, RETRY_S, LONGEST_RETRY_S)
            waiting.due_at = time.monotonic() + (0 if waiting.tries < TRIES else delay_s)
            return False
        self.failures.pop(name, None)
        self.served = {**self.served, name: served}
        if before is not None:
            self._launcher.retire(before)
        return True

    def _keep_alive(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            self._try("lease", self._renew)
            self._try("denials", lambda: self._tell_denials(self._control, self.known.clocks))
            self._stopping.wait(max(0.1, LEASE_S - (time.monotonic() - started)))

    def _renew(self) -> None:
        self._troubles = self._look()
        if self.has_asked and self._is_well():
            self._acknowledge()
        self.refresh()
        self._write_rest()

    def _keep_clear(self) -> None:
        """Let go of what ended, beside signs of life: how long that takes is up to what projects left behind."""
        while not self._stopping.wait(LEASE_S):
            self._try("leftovers", self._let_go_of_ended)

    @staticmethod
    def _try(what: str, work: Callable[[], None]) -> None:
        """Do what must end no thread, nor keep what comes next from being done."""
        try:
            work()
        except LoopwrightError as error:
            log.info("%s: %s", what, error)
        except Exception:
            log.exception("%s failed", what)

    def _let_go_of_ended(self) -> None:
        """Let go of ended projects' files, once nothing of them serves; forget what deleted ones served."""
        live = {project for project, _ in [*self.served, *self._waiting]}
        deleted, closed = set(self.known.deleted) - live, set(self.known.closed) - live
        self.retired = {name: release for name, release in list(self.retired.items()) if name[0] not in deleted}
        self._let_go(deleted, closed)

    def _acknowledge(self) -> None:
        with self._lease_lock:
            reported, served = dict(self._reported), self.served
            late = [waiting.release for name, waiting in list(self._waiting.items()) if name not in reported]
            position = min([self._position, *(release.position - 1 for release in late)])
            self._control.call(
                serving.acknowledge,
                gateway=self._gateway,
                address=self._address,
                position=position,
                failures=[
                    msgspec.structs.replace(one, serves=served[name].release.number if name in served else None)
                    for name, one in reported.items()
                ],
                troubles=self._troubles,
            )


def _settle() -> None:
    """Put what was loaded beyond the reach of the garbage collector, whose full passes are the slowest requests."""
    gc.collect()
    gc.freeze()
