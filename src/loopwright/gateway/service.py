"""What a gateway does: predict, label, log, push and seal. Nothing here knows of HTTP, headers or tokens."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from loopwright.features import online
from loopwright.gateway.answering.batching import Asked, Batcher
from loopwright.gateway.answering.questions import Question, read_question, write_answer
from loopwright.gateway.bodies import decoded
from loopwright.gateway.children.messages import Take
from loopwright.gateway.children.nursery import Nursery
from loopwright.gateway.children.surroundings import Place
from loopwright.gateway.log.batches import StreamKey
from loopwright.gateway.log.journal import Journal
from loopwright.gateway.log.sealing import ChunkSealer
from loopwright.gateway.log.spool import Spool
from loopwright.gateway.lookups import Lookups
from loopwright.gateway.metrics import Gauge, Metrics
from loopwright.gateway.releases.files import ReleaseFiles
from loopwright.gateway.releases.inquiry import Inquiry
from loopwright.gateway.releases.keeper import ReleaseKeeper
from loopwright.gateway.releases.known import Name
from loopwright.gateway.releases.launching import Served
from loopwright.gateway.stamps import Stamp
from loopwright.gateway.storewatch import StoreWatch
from loopwright.gateway.taking.datasets import Datasets
from loopwright.gateway.taking.ingest import IngestBody, Labels, read_external, read_labels, rows_of
from loopwright.gateway.taking.taker import Taker
from loopwright.gateway.troubles import Troubles
from loopwright.governance import EVERY_PROJECT
from loopwright.kernel.clock import Clock
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, NotFound, Unavailable
from loopwright.kernel.suggestions import suggest
from loopwright.store.types import EVERY_STREAM, Streams
from loopwright.wire.caller import VerbCaller

_read_ingest = msgspec.json.Decoder(IngestBody)
INLINE_BYTES = 32 << 10
"""A larger body is read, and its rows are answered, in a child: reading it would keep everybody waiting."""
_ARRIVAL_S = 10.0
_LOOK_AGAIN_S = 0.05
_CLOSING_S = 3.0


class Parts(NamedTuple):
    """What a gateway is made of."""

    spool: Spool
    sealer: ChunkSealer
    journal: Journal
    keeper: ReleaseKeeper
    files: ReleaseFiles
    control: VerbCaller
    clock: Clock
    metrics: Metrics
    nursery: Nursery
    place: Place
    troubles: Troubles
    stores: StoreWatch


class Service:
    """One gateway's work, for callers who were let in.

    Args:
        parts: Spool, releases and the line to the server.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts, self._keeper = parts, parts.keeper
        self._batcher = Batcher(parts.journal, parts.metrics)
        self._datasets = Datasets(parts.keeper, parts.control, parts.files)
        self._takers: dict[str, Taker] = {}
        self.inquiry = Inquiry(parts.keeper)
        self.lookups = Lookups(parts.clock)

    async def served(self, project: str, name: str) -> Served:
        """Return what serves a deployment; one that is being loaded is waited for.

        Raises:
            NotFound: Nothing does: there is no such deployment, or its release cannot be loaded.
            Conflict: Its model is served elsewhere.
            Unavailable: It takes too long to load.
        """
        key = (project, name)
        served = self._keeper.served.get(key)
        if served is not None:
            return served
        if self._keeper.is_expected(key):
            return await self._arrival(key)
        why = self._keeper.failures.get(key)
        if why is not None:
            raise NotFound(
                f"{name} has no release that this gateway could load: {why.why}", field="deployment", value=name
            )
        retired = self._keeper.retired.get(key)
        if retired is not None:
            raise NotFound(f"{name} was retired: {retired.reason}", field="deployment", value=name)
        if key in self._keeper.known.external:
            raise Conflict(f"the model of {name} is served elsewhere", field="deployment", value=name)
        raise _unknown(name, [deployment for owner, deployment in self._keeper.served if owner == project])

    async def _arrival(self, key: Name) -> Served:
        deadline = time.monotonic() + _ARRIVAL_S
        while self._keeper.is_expected(key):
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{key[1]} is still being loaded",
                    field="deployment",
                    value=key[1],
                    next_step="send it again in a moment",
                )
            await asyncio.sleep(_LOOK_AGAIN_S)
        return await self.served(*key)

    async def _launched(self, project: str) -> None:
        """Wait until a gateway that starts knows the views that rows feed: before that they would be logged alone."""
        deadline = time.monotonic() + _ARRIVAL_S
        while self._keeper.is_launching(project):
            if time.monotonic() > deadline:
                step = "send them again in a moment"
                raise Unavailable("what reads these rows is still being loaded", value=project, next_step=step)
            await asyncio.sleep(_LOOK_AGAIN_S)

    def served_named(self, name: str, scope: str) -> Served:
        """Return what serves ``deployment`` or ``project.deployment``, among those of a project or of every project.

        Raises:
            NotFound: Nothing does.
            InvalidInput: Several projects have a deployment of that name.
        """
        visible = self._visible(scope)
        matches = [key for key in visible if name in (key[1], f"{key[0]}.{key[1]}")]
        if len(matches) > 1:
            options = ", ".join(f"{project}.{deployment}" for project, deployment in matches)
            raise InvalidInput(f"several projects have a model named {name}", field="model", rule=f"one of {options}")
        if not matches:
            raise _unknown(name, [key[1] for key in visible])
        return visible[matches[0]]

    def health(self, scope: str) -> dict[str, object]:
        """Return what is served and what is not of a project, or of every project and then of this disk too."""
        live = {"/".join(key): served.release.number for key, served in self._visible(scope).items()}
        failures = {"/".join(key): served.host.failure for key, served in self._visible(scope).items()}
        failures |= {
            "/".join(key): fault.why for key, fault in self._keeper.failures.items() if scope in (key[0], EVERY_PROJECT)
        }
        document: dict[str, object] = {
            "releases": live,
            "failures": {key: why for key, why in failures.items() if why},
            "troubles": self._parts.troubles.seen(scope),
        }
        if scope == EVERY_PROJECT:
            document |= {"sealing": self._parts.sealer.failure, "kept_aside": self._parts.spool.kept_aside}
        return document

    def why_not_ready(self, scope: str, deployment: str = "", *, must_serve: bool = False) -> list[str]:
        """Return what keeps this gateway, or one deployment, from answering rightly; empty where nothing does.

        Args:
            scope: The project that the caller may read, ``EVERY_PROJECT``; empty for a stranger, who learns no names.
            deployment: One of that project alone; empty for all.
            must_serve: True where a gateway that serves nothing yet, and has not asked the server, is not ready either.
        """
        if scope in ("", EVERY_PROJECT) and not deployment and self._answers_some():
            return []  # whoever spreads requests would keep those of every project away for the trouble of one
        why = self._parts.troubles.hindering(scope, deployment)
        if self._parts.spool.failure and not why:  # seen by a request, before it was looked for
            why = [self._parts.spool.failure if scope else "the disk takes no rows"]
        if not deployment:
            why = [*why, *self._unserved(scope)]
        if must_serve and not (why or self._keeper.served or self._keeper.has_asked):
            why = ["nothing is served yet"]
        return why

    def _answers_some(self) -> bool:
        """Say whether there is a deployment of which nothing is known that keeps it from being answered rightly."""
        hindering = self._parts.troubles.hindering
        return not self._parts.spool.failure and any(not hindering(*key) for key in list(self._keeper.served))

    def _unserved(self, scope: str) -> list[str]:
        """Return deployments that have a release and of which none could be loaded, with why."""
        failures = [
            f"{'/'.join(key)} has no release that this gateway could load: {fault.why}"
            for key, fault in list(self._keeper.failures.items())
            if key not in self._keeper.served and scope in ("", EVERY_PROJECT, key[0])
        ]
        return failures if scope else ["a deployment has no release that this gateway could load"][: len(failures)]

    async def predict(self, served: Served, question: Question, stamp: Stamp | None = None) -> bytes:
        """Answer a question; what is returned is in the log, under ids of the stamp where there is one.

        Raises:
            InvalidInput: The body cannot be read, or a row breaks a rule; names ``rows[i].field``.
            TooLarge: There are too many rows.
            TooBusy: More is under way than may wait.
            TookTooLong: It was not answered within the deployment's budget.
            ModelFailed: The model or a feature function raised.
            ModelPaused: The model or a feature function has hung or crashed, and is not tried again yet.
            StorageFull: The disk takes no more.
        """
        runtime = served.runtime
        with served.admission.admitted(len(question.body)):
            if runtime is None or len(question.body) > INLINE_BYTES:
                body = await served.host.ask(question, stamp or self._stamp())
            else:
                reading = read_question(question, served.release)
                asked = Asked(reading.rows, question.started, question.forced, stamp)
                body = write_answer(question, served.release, reading, await self._batcher.submit(runtime, asked))
        if len(question.body) <= INLINE_BYTES and question.forced is None:
            served.sample = question
        return body

    async def label(self, project: str, name: str, body: bytes, stamp: Stamp | None = None) -> int:
        """Take labels of a deployment and return how many; they are in the log.

        Raises:
            InvalidInput: A row breaks a rule; names ``labels[i].field``. Nothing was taken.
        """
        wanted = self._keeper.labels_of((project, name))
        return await self._take_rows(StreamKey(project, "labels", name), body, stamp or self._stamp(), wanted)

    async def log(self, project: str, name: str, body: bytes, stamp: Stamp | None = None) -> int:
        """Take predictions made elsewhere and return how many; they are in the log.

        Raises:
            InvalidInput: A row breaks a rule; names ``predictions[i].field``. Nothing was taken.
            Conflict: The deployment is served here.
        """
        if (project, name) not in self._keeper.known.external:  # retired ones, and those still to be loaded, are ours
            raise Conflict(
                f"{name} is served here", field="deployment", value=name, rule="only models served elsewhere are told"
            )
        personal = self._keeper.known.personal.get(f"{project}/{name}", [])
        key = StreamKey(project, "predictions", name)
        return await self._take_rows(key, body, stamp or self._stamp(), personal=personal)

    async def push(self, project: str, name: str, body: bytes, stamp: Stamp | None = None) -> int:
        """Take rows of a dataset as they become known and return how many; features see them, and they are in the log.

        Raises:
            InvalidInput: A row breaks a rule; names ``rows[i].column``. Nothing was taken.
            StepFailed: The dataset's transform raised. Nothing was taken.
            TookTooLong: The transform hung.
            NotFound: There is no such dataset.
            Unavailable: What reads the rows takes too long to load.
        """
        self._check_open(project)
        await self._launched(project)
        facts = await self._datasets.facts(project, name)
        # What shadows still have to look up must not see these rows.
        await self._settle(project)
        taker = self._taker(project)
        take = self._take(taker, StreamKey(project, "pushes", name), body, stamp or self._stamp())
        take.target = taker.target(*facts)
        try:
            rows = await taker.take(take, name)
        except LoopwrightError as error:
            if online.is_of_store(error):
                self._parts.stores.refused(project, error)
            raise
        self._parts.stores.taken(project)
        return rows

    async def _take_rows(
        self, key: StreamKey, body: bytes, stamp: Stamp, labels: Labels | None = None, personal: Sequence[str] = ()
    ) -> int:
        """Take labels (where ``labels`` says what they look like) or predictions made elsewhere."""
        if len(body) > INLINE_BYTES:
            taker = self._taker(key.project)
            take = self._take(taker, key, body, stamp)
            take.labels, take.personal = labels, list(personal)
            return await taker.take(take, key.stream)
        rows, is_replay = rows_of(decoded(_read_ingest, body), key.kind), self._keeper.is_replay(key.project)
        if labels is not None:
            kind, batch = read_labels(rows, stamp, is_replay=is_replay, wanted=labels)
            key = key._replace(kind=kind)
        else:
            batch = read_external(rows, stamp, is_replay=is_replay, personal=personal)
        await self._parts.journal.kept(key, [batch])
        return batch.rows

    def _stamp(self) -> Stamp:
        return Stamp.now(self._parts.clock.now_us())

    def _take(self, taker: Taker, key: StreamKey, body: bytes, stamp: Stamp) -> Take:
        is_replay = self._keeper.is_replay(key.project)
        base = stamp.base.to_bytes(16)
        return Take(taker.tended.next_number(), key.kind, body, base, stamp.at_us, is_replay)  # type: ignore[arg-type]

    def _taker(self, project: str) -> Taker:
        taker = self._takers.get(project)
        if taker is None:
            parts = self._parts
            taker = self._takers[project] = Taker(project, parts.nursery, parts.place, parts.journal)
        return taker

    async def seal(self, streams: Streams = EVERY_STREAM) -> dict[str, int]:
        """Seal what streams took until now; return how many chunks and rows were registered."""
        await self._settle(EVERY_PROJECT)
        return await asyncio.wrap_future(self._parts.sealer.seal(streams))

    def gauges(self) -> list[Gauge]:
        """Return what there is to measure at the moment."""
        spool, sealer = self._parts.spool, self._parts.sealer
        return [
            Gauge("spool_open_bytes", "Bytes in segments that are still written to", lambda: spool.size_bytes),
            Gauge("sealed_rows", "Rows sealed into chunks since the start", lambda: sealer.sealed_rows),
            Gauge("segments_kept_aside", "Damaged segments that need a person", lambda: len(spool.kept_aside)),
            Gauge("requests_under_way", "Predictions being answered", self._waiting),
        ]

    def _waiting(self) -> int:
        return sum(served.admission.waiting for served in self._keeper.served.values())

    async def close(self) -> None:
        """Finish what is owed, when no request comes any more."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settle(EVERY_PROJECT), _CLOSING_S)
        hosts = [served.host.tended for served in self._keeper.served.values()]
        for tended in (*hosts, *(taker.tended for taker in self._takers.values())):
            tended.close()
        self._datasets.close()

    def _visible(self, scope: str) -> Mapping[Name, Served]:
        return {key: served for key, served in self._keeper.served.items() if scope in (key[0], EVERY_PROJECT)}

    async def _settle(self, scope: str) -> None:
        """Return once the shadows of a project, or of every project, have answered what they owe."""
        self._batcher.finish_shadows()
        await asyncio.gather(*(served.host.tended.settle() for served in self._visible(scope).values()))

    def _check_open(self, project: str) -> None:
        if project in self._keeper.known.closed:
            rule = "nothing is added to a closed project"
            raise Conflict(f"project {project} was closed", field="project", value=project, rule=rule)

    async def check_deployment(self, project: str, name: str) -> None:
        """Make sure that labels or predictions of this deployment are wanted; one declared just now is asked for.

        Raises:
            NotFound: There is no such deployment.
        """
        key = (project, name)
        self._check_open(project)
        keeper = self._keeper
        if key in keeper.served or keeper.is_expected(key) or key in keeper.retired or key in keeper.known.external:
            return
        await self.inquiry.ask()
        if key not in self._keeper.known.external:
            names = (*self._keeper.served, *self._keeper.known.external)
            raise _unknown(name, [deployment for owner, deployment in names if owner == project])


def _unknown(name: str, names: Sequence[str]) -> NotFound:
    hint = suggest(name, names, f"live here: {', '.join(sorted(names)[:10]) or 'none yet'}")
    return NotFound(f"no deployment named {name} is live", field="deployment", value=name, next_step=hint)
