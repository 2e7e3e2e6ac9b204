"""Background loops of a server: reactions, due timers, tidying up. On PostgreSQL one server at a time runs them."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import msgspec

from loopwright.governance import SERVICE_ACTOR, SYSTEM, projects
from loopwright.kernel.backoff import backoff_s
from loopwright.kernel.errors import LoopwrightError
from loopwright.loop import answers, fire_due, garbage, retention, tidying
from loopwright.monitoring import countable_chunks, start_profiling
from loopwright.server.context import ServerContext
from loopwright.server.disk import BlobWatch, DiskWatch, disks_of
from loopwright.server.loops import Loops
from loopwright.server.spools import SpoolWatch
from loopwright.serving import forget_gateways
from loopwright.store import compacting, sql
from loopwright.store.failures import translate
from loopwright.store.jobs import LEASE_US
from loopwright.store.lease import LEASE_S, Lease
from loopwright.store.news import EVENTS
from loopwright.store.shared_clock import SharedClock

log = logging.getLogger("loopwright.background")

TICK_S = 0.2
PAUSE_S = 1.0
UPKEEP_AFTER_S, UPKEEP_EVERY_S = 300.0, 3600.0
DISK_EVERY_S = 20.0
BLOBS_EVERY_S = 300.0
"""A remote store asks money for each of three requests; one that was found out of use is tried as often as the disk."""
TIDY_EVERY_S = 6 * 3600.0
AGAIN_S = 60.0
"""What failed is tried again after so long, then after ever longer: it needs a person until it succeeds."""
LATER_S = 600.0
TIDY_BATCH, TIDY_PAUSE_S = 500, 0.5
"""What is tidied up goes in parts, with a pause for others between them."""


class Chore(msgspec.Struct, frozen=True):
    """What the leading server does now and then, first some time after it began to lead.

    ``work`` says whether all of it could be done.
    """

    name: str
    work: Callable[[], bool]
    after_s: float
    every_s: float


class Background:
    """Threads: one each that answers events, fires timers of wall-clock projects, tidies up, has chunks merged.

    Two more look at the disks and the shared clock, and at the blob store; those every server has for itself.
    """

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._stop = threading.Event()
        self._loops = Loops(context.database, context.dispatcher.wall)
        self._disk_told = ""
        disks = disks_of(context.settings)
        self._disks = [DiskWatch(folder, context.database, context.dispatcher.wall) for folder in disks]
        self._spools = SpoolWatch(context.settings.state_dir, context.database, context.dispatcher.wall)
        # Blobs not at once: a start has other things to do, and so have the servers that follow each other as leaders.
        # They come behind the rows each time: what was removed there names blobs no more.
        tidying = [
            Chore("removing what is old", self._tidy_rows, after_s=0.0, every_s=TIDY_EVERY_S),
            Chore("collecting garbage", self._tidy_stores, after_s=LATER_S, every_s=TIDY_EVERY_S),
        ]
        upkeep = [Chore("merging and counting chunks", self._keep_up, UPKEEP_AFTER_S, UPKEEP_EVERY_S)]
        steps = {
            "reactor": partial(self._lead, "reactor", "answering events", self._react),
            "timers": partial(self._lead, "timers", "firing timers", self._fire),
            "tidying": partial(self._lead_chores, "tidying", tidying),
            "upkeep": partial(self._lead_chores, "upkeep", upkeep),
            "disk": self._watch_disk,
            "blobs": self._watch_blobs,
        }
        self._threads = [
            threading.Thread(target=self._run, args=(name, step), name=f"loopwright-{name}", daemon=True)
            for name, step in steps.items()
        ]

    def start(self) -> None:
        """Start the loops. While no server was up no worker could prolong a lease: who lives still gets to do so."""
        until = self._context.dispatcher.wall.now_us() + LEASE_US
        self._context.database.write(lambda connection: sql.move_leases(connection, until, until=until))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask the loops to end and wait for them."""
        self._stop.set()
        self._context.signal.announce_end()
        for thread in self._threads:
            thread.join(timeout=5)

    def _run(self, name: str, step: Callable[[], None]) -> None:
        told = ""
        while not self._stop.is_set():
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever it was, the loop goes on; what lasts is told once
                self._context.database.note(error)
                what = translate(error)
                why = what.message if isinstance(what, LoopwrightError) else str(what)
                if why != told:
                    told = why
                    self._tell(name, what)
            else:
                told = ""
            self._stop.wait(PAUSE_S)

    def _tell(self, name: str, error: Exception) -> None:
        if isinstance(error, LoopwrightError):
            log.error("the %s loop goes on as soon as it can: %s", name, error)
        else:
            log.error("the %s loop failed and starts again", name, exc_info=error)

    def _lead(self, name: str, what: str, step: Callable[[], None]) -> None:
        with self._leading(name) as lease:
            while (lease is None or lease.hold()) and not self._stop.is_set():
                with self._loops.told(what):
                    step()

    def _lead_chores(self, name: str, chores: list[Chore]) -> None:
        """Do each chore when it is due. Who leads goes on leading between them, or each server would do them all."""
        with self._leading(name) as lease:
            due, failures = [time.monotonic() + chore.after_s for chore in chores], [0 for _ in chores]
            while (lease is None or lease.hold()) and not self._stop.is_set():
                left_s = min(due) - time.monotonic()
                if left_s > 0:
                    self._stop.wait(left_s if lease is None else min(left_s, LEASE_S / 3))
                    continue
                which = due.index(min(due))
                chore = chores[which]
                with nullcontext() if lease is None else lease.kept():
                    is_done = self._do(chore)
                pause_s = chore.every_s if is_done else backoff_s(failures[which], AGAIN_S, chore.every_s)
                failures[which] = 0 if is_done else failures[which] + 1
                due[which] = time.monotonic() + pause_s

    def _do(self, chore: Chore) -> bool:
        """Say whether all of a chore could be done; one that fails holds up none of the others."""
        try:
            with self._loops.told(chore.name):
                return chore.work()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
            self._tell(chore.name, translate(error))
            return False

    @contextmanager
    def _leading(self, name: str) -> Iterator[Lease | None]:
        """Yield the lease to hold, None where this is the only server; let go of it in the end."""
        lease = None if self._context.database.is_sqlite else Lease(self._context.database.engine, name)
        try:
            yield lease
        finally:
            if lease is not None:
                lease.let_go()

    def _watch_disk(self) -> None:
        try:
            with self._loops.told("looking at the disk", is_own=True):
                for disk in self._disks:
                    disk.look()
                self._spools.look()
        except (LoopwrightError, OSError) as error:
            why = error.message if isinstance(error, LoopwrightError) else str(error)
            if why != self._disk_told:
                self._disk_told = why
                log.error("it cannot be told how full the disk is: %s", error)
        else:
            self._disk_told = ""
        wall = self._context.dispatcher.wall
        if isinstance(wall, SharedClock):
            wall.measure()
        next_at = time.monotonic() + DISK_EVERY_S
        self._stop.wait(PAUSE_S)
        while time.monotonic() < next_at and not self._stop.is_set() and not self._context.database.failure:
            self._stop.wait(PAUSE_S)

    def _watch_blobs(self) -> None:
        context = self._context
        watch = BlobWatch(context.blobs, context.settings.blobs_url, context.database, context.dispatcher.wall)
        while not self._stop.wait(BLOBS_EVERY_S if watch.look() else DISK_EVERY_S):
            pass

    def _react(self) -> None:
        seen = self._context.signal.seen(EVENTS)
        self._context.reactor.drain()
        self._context.signal.wait(seen, 1.0, EVENTS)

    def _fire(self) -> None:
        if fire_due(self._context.dispatcher) == 0:
            self._stop.wait(TICK_S)

    def _tidy_rows(self) -> bool:
        dispatcher = self._context.dispatcher
        self._in_parts(partial(dispatcher.forget_old_keys, TIDY_BATCH))
        self._in_parts(self._drop_expired_jobs)
        self._in_parts(partial(answers.forget, dispatcher, TIDY_BATCH))
        return self._remove_what_is_old()

    def _in_parts(self, remove: Callable[[], object]) -> None:
        """Remove some at a time until nothing is left: SQLite has one writer, and whoever writes waits for it."""
        while not self._stop.is_set() and remove():
            self._stop.wait(TIDY_PAUSE_S)

    def _tidy_stores(self) -> bool:
        self._context.dispatcher.write(SYSTEM, SERVICE_ACTOR, forget_gateways)
        is_done = self._tidy_online()
        garbage.collect(self._context.dispatcher, self._context.blobs, self._context.settings.state_dir)
        return is_done

    def _remove_what_is_old(self) -> bool:
        """Remove rows that nobody wants to keep any longer, some at a time."""
        write = self._context.dispatcher.write

        def remove(project: str) -> None:
            self._in_parts(partial(write, project, SERVICE_ACTOR, retention.apply))

        return self._in_each(self._projects(with_closed=True), "removing old rows", remove)

    def _tidy_online(self) -> bool:
        """Have the online store of each project tidied where it may hold what nobody asks for."""
        dispatcher = self._context.dispatcher

        def tidy(project: str) -> None:
            if dispatcher.read(project, SERVICE_ACTOR, tidying.is_wanted):
                dispatcher.write(project, SERVICE_ACTOR, tidying.start_tidying)

        return self._in_each(self._projects(), "tidying the online store", tidy)

    def _keep_up(self) -> bool:
        """Have every project merge its small chunks and count what was merged; no job is started for nothing."""
        dispatcher = self._context.dispatcher

        def keep_up(project: str) -> None:
            is_merging = dispatcher.read(project, SERVICE_ACTOR, lambda tx: compacting.mergeable(tx, limit=1))
            if is_merging:
                dispatcher.write(project, SERVICE_ACTOR, compacting.start_compaction)
            # Behind the merging in its lane: what is merged has to be counted.
            if is_merging or dispatcher.read(project, SERVICE_ACTOR, lambda tx: countable_chunks(tx, limit=1)):
                dispatcher.write(project, SERVICE_ACTOR, start_profiling)

        return self._in_each(self._projects(), "merging and counting chunks", keep_up)

    def _projects(self, *, with_closed: bool = False) -> list[str]:
        """Return the projects in which things go on; deleted ones are none of those."""
        listed = self._context.dispatcher.read(
            SYSTEM, SERVICE_ACTOR, lambda tx: projects.list_projects(tx, with_closed=with_closed)
        )
        return [project.name for project in listed if project.deleted_at is None]

    def _drop_expired_jobs(self) -> int:
        """Drop some jobs that ended long ago; their events stay."""
        wall_us = self._context.dispatcher.wall.now_us()
        return self._context.database.write(lambda connection: sql.delete_expired_jobs(connection, wall_us, TIDY_BATCH))

    def _in_each(self, names: list[str], what: str, work: Callable[[str], None]) -> bool:
        """Work in each project and say whether all of it could be done; what fails in one is told, others go on."""
        is_done = True
        for project in names:
            try:
                with self._loops.told(what, project):
                    work(project)
            except LoopwrightError:
                log.exception("%s of %s failed", what, project)
                is_done = False
        return is_done
