"""What the gateway knows of datasets that rows are pushed to: from live plans, else from the server."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from loopwright import data
from loopwright.features import BoundView, DatasetPushSpec
from loopwright.gateway.releases.files import ReleaseFiles
from loopwright.gateway.releases.keeper import ReleaseKeeper
from loopwright.gateway.releases.known import Known, Name
from loopwright.gateway.releases.launching import Served
from loopwright.gateway.releases.loading import views_of
from loopwright.kernel.errors import LoopwrightError, TooBusy, Unavailable
from loopwright.wire.caller import VerbCaller

ASKING = 4
"""How many questions may be at the server at once: a server that hangs holds these threads and nothing else."""
_MOST_ASKED = 64
_ANSWER_S = 5.0
_AGAIN_S = 1.0


class Facts(NamedTuple):
    """A dataset: its declaration, the views over it of live plans, and what is left out of the log."""

    spec: DatasetPushSpec
    views: list[BoundView]
    personal: list[str]


class _Kept(NamedTuple):
    """Facts, and what they were made of."""

    facts: Facts
    served: Mapping[Name, Served]
    known: Known
    refreshes: int


class Datasets:
    """Finds out what a push needs, without ever keeping one dataset waiting for what is asked about another.

    Args:
        keeper: What is live.
        control: The server.
        files: Fetches the code of transforms.
    """

    def __init__(self, keeper: ReleaseKeeper, control: VerbCaller, files: ReleaseFiles) -> None:
        self._keeper, self._control, self._files = keeper, control, files
        self._threads = ThreadPoolExecutor(ASKING, "asking")
        self._kept: dict[Name, _Kept] = {}
        self._asked: dict[Name, asyncio.Future[Facts]] = {}
        self._failed: dict[Name, tuple[float, LoopwrightError]] = {}

    async def facts(self, project: str, name: str) -> Facts:
        """Return what is known of a dataset.

        Raises:
            NotFound: There is none of that name.
            Unavailable: No live plan reads it, and the server does not say what it is.
            TooBusy: Too many others are being asked for.
        """
        key = (project, name)
        kept = self._kept.get(key)
        if kept is not None and self._is_fresh(kept):
            return kept.facts
        if (failed := self._failed.get(key)) is not None and time.monotonic() - failed[0] < _AGAIN_S:
            raise failed[1]
        asked = self._asked.get(key)
        if asked is None:
            if len(self._asked) >= _MOST_ASKED:
                raise TooBusy("too many datasets are asked for that nobody here knows", details={"retry_after_s": 1})
            asked = self._asked[key] = asyncio.ensure_future(self._find(key))
            asked.add_done_callback(lambda done: self._on_found(key, done))
        try:
            return await asyncio.wait_for(asyncio.shield(asked), _ANSWER_S)
        except TimeoutError:
            if kept is not None:
                return kept.facts
            raise Unavailable("the server does not say what this dataset is", field="dataset", value=name) from None

    def close(self) -> None:
        """Ask no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _is_fresh(self, kept: _Kept) -> bool:
        keeper = self._keeper
        return kept.served is keeper.served and kept.known is keeper.known and kept.refreshes in (-1, keeper.refreshes)

    async def _find(self, key: Name) -> Facts:
        project, name = key
        served, known, refreshes = self._keeper.served, self._keeper.known, self._keeper.refreshes
        live, views = views_of([each.release for each in served.values()], project, name)
        personal = known.pushed.get(f"{project}/{name}", [])
        loop = asyncio.get_running_loop()
        if live is not None:
            spec, refreshes = live, -1
        else:
            try:
                spec, personal = await loop.run_in_executor(self._threads, self._ask, project, name)
            except Unavailable:
                before = self._kept.get(key)
                if before is None:
                    raise
                # The server is away; the dataset is what it was.
                return before.facts
        for dataset in (spec, *(view.dataset for view in views)):
            if dataset.transform is not None:
                await loop.run_in_executor(self._threads, self._files.fetch_code, project, dataset.transform.digest)
        facts = Facts(spec, views, personal)
        self._kept[key] = _Kept(facts, served, known, refreshes)
        return facts

    def _ask(self, project: str, name: str) -> tuple[DatasetPushSpec, list[str]]:
        spec = self._control.within(project).call(data.get, dataset=name).spec
        pushed = DatasetPushSpec(
            spec.name, spec.key, spec.time or "", spec.known_at, spec.transform, zone=spec.source.zone
        )
        return pushed, spec.personal

    def _on_found(self, key: Name, done: "asyncio.Future[Facts]") -> None:
        self._asked.pop(key, None)
        error = None if done.cancelled() else done.exception()
        if isinstance(error, LoopwrightError):
            if len(self._failed) > _MOST_ASKED:
                self._failed.clear()
            self._failed[key] = (time.monotonic(), error)
        else:
            self._failed.pop(key, None)
