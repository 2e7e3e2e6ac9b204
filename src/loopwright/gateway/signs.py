"""Where signs of trouble are looked for: the disk, the spool, online stores, children."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from loopwright.features import bind_views, online
from loopwright.gateway.disk import read_document, write_document
from loopwright.gateway.log.sealing import ChunkSealer
from loopwright.gateway.log.spool import Spool
from loopwright.gateway.releases.keeper import Name
from loopwright.gateway.releases.launching import Served
from loopwright.gateway.troubles import Sign
from loopwright.kernel.errors import LoopwrightError
from loopwright.serving import Release

LEAST_FREE_BYTES = 256 << 20
"""With less room than this on the disk of the spool, somebody should free some before it is full."""
SEALING_FAILS_S = 60.0
"""Sealing may fail for so long, while a server or a blob store restarts, before it is told."""


def disk_signs(spool: Spool) -> Iterator[Sign]:
    """Yield what is wrong with the disk that answers must go to before they leave."""
    spool.probe()
    if spool.failure:
        yield Sign("disk", spool.failure, is_in_the_way=True)
    elif shutil.disk_usage(spool.root).free < LEAST_FREE_BYTES:
        yield Sign("disk", f"less than {LEAST_FREE_BYTES >> 20} MiB are free on the disk of {spool.root}")


def spool_signs(spool: Spool, sealer: ChunkSealer) -> Iterator[Sign]:
    """Yield what of the spool needs a person: segments kept aside, strangers in it, rows that cannot be sealed."""
    for name in spool.kept_aside:
        project = name.partition("/")[0]
        yield Sign("spool", f"{name} is kept aside: it holds rows that could not be sealed", project)
    for name in spool.strangers:
        yield Sign("stranger", f"{name} in the spool is no segment and is left alone")
    if sealer.fails_for_s > SEALING_FAILS_S:
        yield Sign("sealing", f"rows wait in the spool and cannot be sealed: {sealer.failure}")


class StoreWatch:
    """Looks whether online stores still hold what live deployments read there.

    Args:
        path: Where it is remembered which views have held rows.
        releases: Returns what is live.
        stores: The stores; one is opened only where a live plan reads it.
    """

    def __init__(self, path: Path, releases: Callable[[], Iterable[Release]], stores: online.OnlineStores) -> None:
        self._path, self._releases, self._all = path, releases, stores
        self._stores: dict[str, online.OnlineStore] = {}
        self._held = set(read_document(path, list[str]) or ())

    def signs(self) -> Iterator[Sign]:
        """Yield live deployments whose features are gone from the store, or never came there."""
        read = [
            (release, view)
            for release in self._releases()
            for plan in release.plans.values()
            for view in bind_views(plan, release.project)
        ]
        self._close_all_but({release.project for release, _ in read})
        if not read:
            return
        keys, empty = {view.key for _, view in read}, set[str]()
        for project in {release.project for release, _ in read}:
            try:
                self._all.address_for_code(project)
                empty |= self._store(project).empty({view.key for release, view in read if release.project == project})
            except LoopwrightError as error:
                yield Sign("store", f"features cannot be looked up: {error}", project, is_in_the_way=True)
                return
        self._remember((keys - empty) | (self._held & keys))
        for release, view in read:
            # A dataset that has no version and was never pushed to has no past that could be there.
            if view.key in empty and (view.key in self._held or view.dataset.dtypes):
                why = f"the view {view.view.name} that {release.deployment} reads holds no rows in the online store"
                yield Sign("store", why, release.project, release.deployment, is_in_the_way=True)

    def _store(self, project: str) -> "online.OnlineStore":
        if project not in self._stores:
            self._stores[project] = self._all.open(project)
        return self._stores[project]

    def _close_all_but(self, projects: set[str]) -> None:
        """Let go of stores that nothing reads any more: a file that is open stays on the disk, whoever removes it."""
        for project in self._stores.keys() - projects:
            self._stores.pop(project).close()

    def _remember(self, held: set[str]) -> None:
        if held != self._held:
            self._held = held
            with suppress(OSError):  # a full disk is told by another sign
                write_document(self._path, sorted(held))


def child_signs(served: Mapping[Name, Served]) -> Iterator[Sign]:
    """Yield deployments whose process ends again and again, or cannot be started."""
    for (project, deployment), each in list(served.items()):
        if why := each.host.lasting_failure:
            yield Sign("child", f"{project}/{deployment}: {why}", project, deployment)
