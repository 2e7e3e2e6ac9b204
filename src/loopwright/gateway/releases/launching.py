"""Launching a release: its files fetched, tried in a process of its own, and only then let into traffic.

A release with user code, a slow model, or one that has crashed the gateway before is answered by its child for good.
Every other is loaded into the gateway too, where small requests cost no hop; its child is there for the large ones and
ends when nobody sends any.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from loopwright.gateway.admission import MOST_WAITING, MOST_WAITING_BYTES, Admission
from loopwright.gateway.answering.host import Host
from loopwright.gateway.answering.questions import Question
from loopwright.gateway.answering.runtime import DeploymentRuntime
from loopwright.gateway.bodies import MOST_BODY_BYTES
from loopwright.gateway.children.nursery import Nursery
from loopwright.gateway.children.surroundings import Place
from loopwright.gateway.log.batches import Batch, StreamKey
from loopwright.gateway.log.journal import Journal, Then
from loopwright.gateway.marks import Page, PageMarker
from loopwright.gateway.metrics import Metrics
from loopwright.gateway.pauses import ChildCrashed
from loopwright.gateway.releases.bars import Bars
from loopwright.gateway.releases.files import ReleaseFiles, model_key
from loopwright.gateway.releases.loading import LIBRARIES, Loader, check_form
from loopwright.serving import Release, Variant

T = TypeVar("T")
log = logging.getLogger("loopwright.gateway")
INLINE_US = 2_000
"""A model that needs longer for a row is kept off the event loop."""
_HARMLESS = {"constant"}
"""Flavours whose models are numbers in a document: nothing of them can crash or hang."""


class Served:
    """What answers one deployment now. It is replaced as a whole; requests keep the one they began with.

    Args:
        release: The document.
        runtime: The release in this process; None where a child answers everything.
        host: The release's child.
    """

    def __init__(self, release: Release, runtime: DeploymentRuntime | None, host: Host) -> None:
        self.release, self.runtime, self.host = release, runtime, host
        self.most_body_bytes = release.limits.get("body_bytes", MOST_BODY_BYTES)
        most, most_bytes = (
            release.limits.get(name, default)
            for name, default in (("waiting", MOST_WAITING), ("waiting_bytes", MOST_WAITING_BYTES))
        )
        self.admission = Admission(release.deployment, host.tended.budget_s, most, most_bytes)
        self.sample: Question | None = None
        """The last small request that was answered; the next release has to answer it too."""


class Launcher:
    """Brings releases up, for a thread that may wait while the event loop turns.

    Args:
        files: Fetches what they need.
        nursery: Where children come from.
        place: Where children find files.
        loader: Loads into this process.
        bars: Remembers what crashed.
        page: Where it is marked what runs in this process.
        journal: Where answers are logged.
        metrics: Counts batches.
    """

    def __init__(
        self,
        files: ReleaseFiles,
        nursery: Nursery,
        place: Place,
        loader: Loader,
        bars: Bars,
        page: Page,
        journal: Journal,
        metrics: Metrics,
    ) -> None:
        self._files, self._nursery, self._place, self._loader = files, nursery, place, loader
        self._bars, self._page, self._journal, self._metrics = bars, page, journal, metrics
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proven: dict[str, int] = {}

    def open(self) -> None:
        """Bring releases up in the running event loop from now on."""
        self._loop = asyncio.get_running_loop()

    def launch(self, release: Release, before: Served | None) -> Served:
        """Return the release ready to answer.

        Args:
            release: The document.
            before: What has answered until now.

        Raises:
            ReleaseBarred: Something in it has crashed here before, or just now.
            LoopwrightError: A file is missing or changed, code cannot be imported, a model cannot be loaded or answer.
        """
        check_form(release)
        self._bars.check(release)
        self._files.fetch(release)
        for variant in release.variants:
            if variant.flavour in LIBRARIES:
                self._nursery.prepare(LIBRARIES[variant.flavour])
        if any(variant.plan for variant in release.variants):
            self._nursery.prepare("loopwright.gateway.answering.plans")
        host = self._in_loop(self._host(release))
        row_us = self._known_row_us(release)
        if row_us is None:
            row_us = self._try(host, release, before.sample if before is not None else None)
        runtime = None
        if self._may_be_inline(release, row_us):
            runtime = self._load(release)
            self._in_loop(_end_when_idle(host))
        return Served(release, runtime, host)

    def retire(self, served: Served) -> None:
        """Let go of what answers no longer, once it has answered what is under way."""
        self._in_loop(_retire(served.host))

    def keep_only(self, releases: Sequence[Release]) -> None:
        """Forget what none of these releases uses, in memory and on the disk."""
        self._loader.keep_only(releases)
        self._files.keep_only(releases)

    async def _host(self, release: Release) -> Host:
        key = StreamKey(release.project, "predictions", release.deployment)

        def keep(batches: Sequence[Batch], then: Then) -> None:
            self._journal.keep(key, batches, then)

        return Host(release, self._nursery, self._place, keep, self._metrics.observe_batch)

    def _try(self, host: Host, release: Release, sample: Question | None) -> int:
        """Have a child load the release and answer a first row; return how long a row takes, in microseconds."""
        try:
            row_us = self._in_loop(host.start(sample))
        except ChildCrashed as error:
            place = error.place  # a child marks what it likes
            if error.is_own_fault and place is not None and place < len(release.variants):
                self._bars.bar(release.variants[place], error.message)
            raise
        self._proven.update(dict.fromkeys(map(_part, release.variants), row_us))
        return row_us

    def _known_row_us(self, release: Release) -> int | None:
        """Return how long a row takes where that is known and nothing here can crash; None where it must be tried."""
        if any(variant.plan for variant in release.variants) or not self._bars.may_enter_gateway(release):
            return None
        if all(variant.flavour in _HARMLESS for variant in release.variants):
            return 0
        known = [self._proven.get(_part(variant)) for variant in release.variants]
        times = [row_us for row_us in known if row_us is not None]
        return max(times) if len(times) == len(known) and max(times) <= INLINE_US else None

    def _may_be_inline(self, release: Release, row_us: int) -> bool:
        has_plan = any(variant.plan for variant in release.variants)
        return not has_plan and row_us <= INLINE_US and self._bars.may_enter_gateway(release)

    def _load(self, release: Release) -> DeploymentRuntime:
        labels = [bytes.fromhex(model_key(variant)) for variant in release.variants]
        marker = PageMarker(self._page, labels)
        try:
            runtime = self._loader.load(release, marker)
            runtime.warm()
        finally:
            marker.leave()
        return runtime

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _end_when_idle(host: Host) -> None:
    host.tended.end_when_idle()


async def _retire(host: Host) -> None:
    host.tended.retire()


def _part(variant: Variant) -> str:
    return f"{model_key(variant)}/{variant.plan}"
