"""The topics that a gateway follows: those of the datasets that are declared with one."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from loopwright.data import SourceSpec, address_of
from loopwright.gateway.releases.known import Known, Name
from loopwright.gateway.topics.base import Reading, Topic, open_topic
from loopwright.gateway.topics.follower import Follower, Push
from loopwright.gateway.troubles import Sign
from loopwright.kernel.errors import NotFound

LOOK_AGAIN_S = 0.5
AGAIN_S = 1.0
"""After so long a follower that goes on is cancelled again."""
_CLOSE_S = 30.0
Brokers = Mapping[tuple[str, str], str]
"""Address of each broker by project, ``*`` for all, and name."""


class Topics:
    """Follows topics as datasets are declared, and no longer than they are.

    Args:
        brokers: Those that the operator named.
        known: What the server said last.
        push: Takes rows of a dataset as a request's body.
        reader: Name of this gateway among those that read the same topic.
        now_us: Wall time, microseconds UTC.
    """

    def __init__(
        self, brokers: Brokers, known: Callable[[], Known], push: Push, reader: str, now_us: Callable[[], int]
    ) -> None:
        self._brokers, self._known, self._push, self._reader, self._now_us = brokers, known, push, reader, now_us
        self._followers: dict[Name, Follower] = {}
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._ending: dict[Name, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._unknown: dict[Name, str] = {}

    def start(self) -> None:
        """Follow, beside the requests that come."""
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        """Follow no longer; what was read and not taken comes again."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for dataset in [*self._followers]:
            self._let_go(dataset)
        if self._ending:
            await asyncio.wait(self._ending.values(), timeout=_CLOSE_S)

    def signs(self) -> Iterator[Sign]:
        """Yield what of the topics somebody should know."""
        for (project, dataset), broker in list(self._unknown.items()):
            step = f"name it to the gateway: LOOPWRIGHT_SOURCES={project}/{broker}=redis://…, or change the dataset"
            message = f"{project}/{dataset} is to be read from broker {broker}, which this gateway does not know"
            yield Sign("topic", message, project, next_step=step)
        for follower in list(self._followers.values()):
            yield from follower.signs()

    async def _look(self) -> None:
        while True:
            wanted = self._wanted()
            for dataset in [*self._followers]:
                is_same = wanted.get(dataset) == self._followers[dataset].source
                if not is_same or self._tasks[dataset].done():
                    self._let_go(dataset)
            self._ending = {dataset: task for dataset, task in self._ending.items() if not task.done()}
            for dataset, source in wanted.items():
                if dataset not in self._followers and dataset not in self._ending:
                    self._begin(dataset, source)
            await asyncio.sleep(LOOK_AGAIN_S)

    def _wanted(self) -> dict[Name, SourceSpec]:
        """Return the topics to follow; remember those whose broker nobody named."""
        known, wanted = self._known(), {}
        unknown = {}
        for key, source in known.topics.items():
            project, _, dataset = key.partition("/")
            if project in known.closed:
                continue
            if self._url(project, source) is None:
                unknown[project, dataset] = source.location.partition("/")[0]
            else:
                wanted[project, dataset] = source
        self._unknown = unknown
        return wanted

    def _url(self, project: str, source: SourceSpec) -> str | None:
        return address_of(self._brokers, project, source.location.partition("/")[0])

    def _begin(self, dataset: Name, source: SourceSpec) -> None:
        open_it = partial(self._open, dataset, source)
        follower = Follower(dataset, source, open_it, self._push, self._now_us)
        self._followers[dataset] = follower
        self._tasks[dataset] = asyncio.get_running_loop().create_task(follower.run())

    def _open(self, dataset: Name, source: SourceSpec) -> Topic:
        project, name = dataset
        url = self._url(project, source)
        if url is None:
            raise NotFound("no such broker is known", field="source", value=source.location)
        group = f"loopwright:{project}:{name}"  # no name holds a colon
        return open_topic(Reading(url, source.location.partition("/")[2], group, self._reader))

    def _let_go(self, dataset: Name) -> None:
        """Have a follower end, aside; until then nobody else follows for its dataset."""
        follower, task = self._followers.pop(dataset), self._tasks.pop(dataset)
        self._ending[dataset] = asyncio.get_running_loop().create_task(_end(follower, task))


async def _end(follower: Follower, task: asyncio.Task[None]) -> None:
    """Stop a follower, and cancel it until it ends: a broker's library may swallow that."""
    follower.stop()
    while not task.done():
        if not follower.is_closing:
            task.cancel()
        await asyncio.wait([task], timeout=AGAIN_S)
