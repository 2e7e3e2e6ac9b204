"""What a gateway does: predict, label, log, push and seal. Nothing here knows of HTTP, headers or tokens."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from loopwright import data
from loopwright.features import DatasetPushSpec
from loopwright.gateway.batching import Batcher
from loopwright.gateway.ingest import only_rows, read_external, read_labels
from loopwright.gateway.inputs import Row
from loopwright.gateway.loading import Loader, views_of
from loopwright.gateway.metrics import Metrics
from loopwright.gateway.releases import Name, ReleaseKeeper
from loopwright.gateway.runtime import DeploymentRuntime, Prediction
from loopwright.gateway.sealing import Sealer
from loopwright.gateway.spool import Batch, Spool, StreamKey
from loopwright.governance import EVERY_PROJECT
from loopwright.kernel.clock import Clock
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, Unavailable
from loopwright.kernel.suggestions import suggest
from loopwright.store.types import EVERY_STREAM, Streams
from loopwright.wire.caller import VerbCaller

_REASK_S = 1.0


class Parts(NamedTuple):
    """What a gateway is made of. ``is_durable``: answers wait until the disk has confirmed what they say."""

    spool: Spool
    sealer: Sealer
    keeper: ReleaseKeeper
    loader: Loader
    control: VerbCaller
    clock: Clock
    metrics: Metrics
    is_durable: bool


class Service:
    """One gateway's work, for callers who were let in.

    Args:
        parts: Spool, releases and the line to the server.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts, self._keeper = parts, parts.keeper
        self._batcher = Batcher(parts.spool, parts.sealer, parts.metrics, is_durable=parts.is_durable)
        self._pushing = ThreadPoolExecutor(1, "pushes")
        self._asked_at = 0.0
        self._datasets: dict[Name, tuple[int, tuple[DatasetPushSpec, set[str]]]] = {}

    def runtime(self, project: str, name: str) -> DeploymentRuntime:
        """Return what serves a deployment.

        Raises:
            NotFound: Nothing does: there is no such deployment, or its release cannot be loaded.
            Conflict: Its model is served elsewhere.
        """
        runtime = self._keeper.runtimes.get((project, name))
        if runtime is not None:
            return runtime
        why = self._keeper.failures.get((project, name))
        if why is not None:
            raise NotFound(f"{name} has no release that this gateway could load: {why}", field="deployment", value=name)
        if (project, name) in self._keeper.known.external:
            raise Conflict(f"the model of {name} is served elsewhere", field="deployment", value=name)
        raise _unknown(name, [key[1] for key in self._keeper.runtimes if key[0] == project])

    def runtime_named(self, name: str, scope: str) -> DeploymentRuntime:
        """Return what serves ``deployment`` or ``project.deployment``, among those of a project or of every project.

        Raises:
            NotFound: Nothing does.
            InvalidInput: Several projects have a deployment of that name.
        """
        runtimes = self._visible(scope)
        matches = [key for key in runtimes if name in (key[1], f"{key[0]}.{key[1]}")]
        if len(matches) > 1:
            options = ", ".join(f"{project}.{deployment}" for project, deployment in matches)
            raise InvalidInput(f"several projects have a model named {name}", field="model", rule=f"one of {options}")
        if not matches:
            raise _unknown(name, [key[1] for key in runtimes])
        return runtimes[matches[0]]

    def health(self, scope: str) -> dict[str, object]:
        """Return what is served and what is not of a project, or of every project and then of this disk too."""
        live = {"/".join(key): runtime.release.number for key, runtime in self._visible(scope).items()}
        failures = {
            "/".join(key): why for key, why in self._keeper.failures.items() if scope in (key[0], EVERY_PROJECT)
        }
        document: dict[str, object] = {"releases": live, "failures": failures}
        if scope == EVERY_PROJECT:
            document |= {"sealing": self._parts.sealer.failure, "kept_aside": self._parts.spool.kept_aside}
        return document

    @property
    def is_ready(self) -> bool:
        """True once the server was asked what to serve, or something is served from this disk."""
        return bool(self._keeper.runtimes) or self._keeper.has_asked

    async def predict(
        self, runtime: DeploymentRuntime, rows: Sequence[Row], started: float, forced: int | None = None
    ) -> list[Prediction]:
        """Answer rows; what is returned is in the log.

        Args:
            runtime: Who answers.
            rows: The request's rows.
            started: ``time.perf_counter()`` when the request came.
            forced: Place of the variant to use whatever the bucket says.

        Raises:
            InvalidInput: A row breaks a rule; names ``rows[i].field``.
            TooLarge: There are too many rows.
            ModelFailed: The model or a feature function raised.
            StorageFull: The disk takes no more.
        """
        return await self._batcher.submit(runtime, rows, started, forced)

    async def label(self, project: str, name: str, rows: Sequence[Row]) -> int:
        """Take labels of a deployment and return how many; they are in the log.

        Raises:
            InvalidInput: A row breaks a rule; names ``labels[i].field``. Nothing was taken.
            NotFound: There is no such deployment.
        """
        await self._check_deployment(project, name)
        wanted = self._keeper.labels_of((project, name))
        now_us, is_replay = self._parts.clock.now_us(), self._keeper.is_replay(project)
        batch = read_labels(only_rows(rows), now_us, is_replay=is_replay, wanted=wanted)
        return await self._spooled(StreamKey(project, "labels", name), batch)

    async def log(self, project: str, name: str, rows: Sequence[Row]) -> int:
        """Take predictions made elsewhere and return how many; they are in the log.

        Raises:
            InvalidInput: A row breaks a rule; names ``predictions[i].field``. Nothing was taken.
            Conflict: The deployment is served here.
            NotFound: There is no such deployment.
        """
        if (project, name) in self._keeper.runtimes:
            raise Conflict(
                f"{name} is served here", field="deployment", value=name, rule="only models served elsewhere are told"
            )
        await self._check_deployment(project, name)
        personal = self._keeper.known.personal.get(f"{project}/{name}", [])
        now_us, is_replay = self._parts.clock.now_us(), self._keeper.is_replay(project)
        batch = read_external(only_rows(rows), now_us, is_replay=is_replay, personal=personal)
        return await self._spooled(StreamKey(project, "predictions", name), batch)

    async def push(self, project: str, name: str, rows: Sequence[Row]) -> int:
        """Take rows of a dataset as they become known and return how many; features see them, and they are in the log.

        Raises:
            InvalidInput: A row breaks a rule; names ``rows[i].column``. Nothing was taken.
            StepFailed: The dataset's transform raised.
            NotFound: There is no such dataset.
        """
        only_rows(rows)
        # What shadows still have to look up must not see these rows.
        self._batcher.finish_shadows()
        loop = asyncio.get_running_loop()
        batch = await loop.run_in_executor(self._pushing, self._take_push, project, name, rows)
        return await self._spooled(StreamKey(project, "pushes", name), batch)

    async def seal(self, streams: Streams = EVERY_STREAM) -> dict[str, int]:
        """Seal what streams took until now; return how many chunks and rows were registered."""
        self._batcher.finish_shadows()
        return await asyncio.wrap_future(self._parts.sealer.seal(streams))

    def gauges(self) -> dict[str, float]:
        """Return what there is to measure at the moment, by name."""
        return {
            "spool_open_bytes": self._parts.spool.size_bytes,
            "sealed_rows": self._parts.sealer.sealed_rows,
            "segments_kept_aside": len(self._parts.spool.kept_aside),
        }

    def close(self) -> None:
        """Finish what is owed, when no request comes any more."""
        self._batcher.finish_shadows()
        self._pushing.shutdown()

    def _visible(self, scope: str) -> Mapping[Name, DeploymentRuntime]:
        return {key: runtime for key, runtime in self._keeper.runtimes.items() if scope in (key[0], EVERY_PROJECT)}

    def _take_push(self, project: str, name: str, rows: Sequence[Row]) -> Batch:
        spec, views = views_of(self._keeper.releases(), project, name)
        personal = set(self._keeper.known.pushed.get(f"{project}/{name}", ()))
        if spec is None:
            spec, personal = self._dataset(project, name)
        now_us = self._parts.clock.now_us()
        is_replay = self._keeper.is_replay(project)
        target = self._parts.loader.push_target(spec, views, personal)
        batch: Batch = target.take(rows, now_us, None if is_replay else now_us)
        return batch

    def _dataset(self, project: str, name: str) -> tuple[DatasetPushSpec, set[str]]:
        """Return a dataset that no live plan reads, as the server declares it (or did last), and what is personal."""
        refreshes, known = self._datasets.get((project, name), (-1, None))
        if known is not None and refreshes == self._keeper.refreshes:
            return known
        refreshes = self._keeper.refreshes
        try:
            spec = self._parts.control.within(project).call(data.get, dataset=name).spec
        except Unavailable:
            if known is None:
                raise
            return known
        pushed = DatasetPushSpec(
            spec.name, spec.key, spec.time or "", spec.known_at, spec.transform, zone=spec.source.zone
        )
        known = (pushed, set(spec.personal))
        self._datasets[project, name] = (refreshes, known)
        return known

    async def _spooled(self, key: StreamKey, batch: Batch) -> int:
        ticket = self._parts.spool.append(key, [batch])
        self._parts.sealer.nudge(key)
        if self._parts.is_durable:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()

            def settle(why: Exception | None) -> None:
                loop.call_soon_threadsafe(_settle, done, why)

            self._parts.spool.when_durable(ticket, settle)
            await done
        return batch.rows

    async def _check_deployment(self, project: str, name: str) -> None:
        """Make sure that rows of this deployment are wanted; one declared just now is asked for."""
        key = (project, name)
        if key in self._keeper.runtimes or key in self._keeper.known.external:
            return
        if time.monotonic() - self._asked_at > _REASK_S:
            self._asked_at = time.monotonic()
            await asyncio.get_running_loop().run_in_executor(None, self._keeper.refresh)
        if key not in self._keeper.known.external:
            names = (*self._keeper.runtimes, *self._keeper.known.external)
            raise _unknown(name, [deployment for owner, deployment in names if owner == project])


def _unknown(name: str, names: Sequence[str]) -> NotFound:
    hint = suggest(name, names, f"live here: {', '.join(sorted(names)[:10]) or 'none yet'}")
    return NotFound(f"no deployment is named {name}", field="deployment", value=name, next_step=hint)


def _settle(done: "asyncio.Future[None]", why: Exception | None) -> None:
    if not done.done():
        done.set_result(None) if why is None else done.set_exception(why)
