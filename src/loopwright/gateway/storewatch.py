"""Whether online stores still hold what live deployments read there, and take what is pushed."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from loopwright.features import BoundView, bind_views, online
from loopwright.gateway.disk import read_document, write_document
from loopwright.gateway.troubles import Sign
from loopwright.kernel.errors import LoopwrightError
from loopwright.serving import Release

REFUSED_S = 60.0
"""How long a refused push is told where no other comes."""


class Remembered(msgspec.Struct):
    """What was seen of stores, for the next life of this gateway too.

    Args:
        stores: By which name each project's store was known last.
        held: Keys of views that have held rows.
        lost: Those of them that were in a store that is gone, and were not filled since.
    """

    stores: dict[str, str] = {}
    held: list[str] = []
    lost: list[str] = []


class _Read(NamedTuple):
    """A view that a live deployment reads."""

    release: Release
    plan_digest: str
    view: BoundView


class StoreWatch:
    """Looks whether online stores hold what live deployments read there, and take rows.

    A view without rows is not the only one that lost them: the first push after a loss makes one that answers, wrongly.
    So each store has a name; another one tells that what the one before held is gone, until a fill has ended.

    Args:
        path: Where it is remembered which stores there were, and which views have held rows.
        releases: Returns what is live.
        stores: The stores; one is opened only where a live plan reads it.
        deleted: Returns projects that are gone, of which nothing is to be remembered.
    """

    def __init__(
        self,
        path: Path,
        releases: Callable[[], Iterable[Release]],
        stores: online.OnlineStores,
        deleted: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._path, self._releases, self._all, self._deleted = path, releases, stores, deleted
        self._stores: dict[str, online.OnlineStore] = {}
        self._refused: dict[str, tuple[float, str]] = {}
        kind: type[Remembered | list[str]] = Remembered | list[str]  # type: ignore[assignment]
        known = read_document(path, kind)  # older versions kept the views alone
        self._known = known if isinstance(known, Remembered) else Remembered(held=known or [])
        self._names, self._held, self._lost = dict(self._known.stores), set(self._known.held), set(self._known.lost)

    def refused(self, project: str, error: LoopwrightError) -> None:
        """Take note of a push that a store did not take."""
        self._refused[project] = (time.monotonic() + REFUSED_S, str(error))

    def taken(self, project: str) -> None:
        """Take note of a push that was taken."""
        self._refused.pop(project, None)

    def signs(self) -> Iterator[Sign]:
        """Yield what is wrong with stores that live deployments read, or that pushes go to."""
        read: dict[str, list[_Read]] = {}
        for release in self._releases():
            for digest, plan in release.plans.items():
                views = [_Read(release, digest, view) for view in bind_views(plan, release.project)]
                read.setdefault(release.project, []).extend(views)
        self._close_all_but({project for project, views in read.items() if views})
        for project, views in read.items():
            if views:
                yield from self._of_project(project, views)
        self._remember()
        for project, (until, why) in list(self._refused.items()):
            if until > time.monotonic():
                yield Sign("store", f"a push was refused: {why}", project)
            else:
                self._refused.pop(project, None)

    def _of_project(self, project: str, read: list[_Read]) -> Iterator[Sign]:
        try:
            self._all.address_for_code(project)
            store = self._store(project)
            name, refusal = _tried_out(store)
            remembered = {key for key in self._held if key.startswith(f"{project}/")}
            held = store.held({each.view.key for each in read} | remembered)
        except LoopwrightError as error:
            why = f"features cannot be looked up: {error}"
            yield Sign("store", why, project, is_in_the_way=True, next_step=error.next_step or "")
            return
        if refusal is not None:
            why = f"the online store takes no rows: {refusal}"
            yield Sign("store", why, project, is_in_the_way=True, next_step=refusal.next_step or "")
        self._learn(project, name, held, remembered - {each.view.key for each in read})
        for each in read:
            if sign := self._sign(each, held.get(each.view.key)):
                yield sign

    def _learn(self, project: str, name: str, held: Mapping[str, online.Level], unread: set[str]) -> None:
        """Take note of what a store holds; views that nothing reads are remembered as long as it holds them."""
        is_another = name and self._names.get(project, name) != name
        if is_another:
            self._lost |= {key for key in self._held if key.startswith(f"{project}/")}
        if name:
            self._names[project] = name
        self._lost -= {key for key, level in held.items() if level == "filled"}
        self._held = (self._held | held.keys()) - (unread - held.keys() - self._lost)

    def _sign(self, read: _Read, level: online.Level | None) -> Sign | None:
        """Return what is wrong with a view of which the store has that much."""
        key, dataset = read.view.key, read.view.dataset
        has_past = bool(dataset.dtypes)  # else it had no version when the plan was frozen
        if level is None:
            if not has_past and key not in self._held:
                return None  # nothing was ever there
            why = "holds no rows in the online store"
        elif key in self._lost:
            why = "lost its rows with the online store, and answers from what was pushed since"
        elif has_past and level == "rows":
            why = "was never filled in the online store, and answers from what was pushed alone"
        else:
            return None
        release, name = read.release, read.view.view.name
        step = (
            f"fill it: loopwright call features.start_materialize view={name} plan_digest={read.plan_digest} "
            f"-p {release.project}"
        )
        if not has_past:
            step += f"; where {dataset.name} has no version yet, import one first, which reads what was pushed too"
        told = f"the view {name} that {release.deployment} reads {why}"
        is_in_the_way = level is None or has_past
        return Sign("store", told, release.project, release.deployment, is_in_the_way, step, name, read.plan_digest)

    def _store(self, project: str) -> online.OnlineStore:
        if project not in self._stores:
            self._stores[project] = self._all.open(project)
        return self._stores[project]

    def _close_all_but(self, projects: set[str]) -> None:
        """Let go of stores that nothing reads any more: a file that is open stays on the disk, whoever removes it."""
        for project in self._stores.keys() - projects:
            self._stores.pop(project).close()

    def _remember(self) -> None:
        gone = tuple(f"{project}/" for project in self._deleted())
        stores = {project: name for project, name in self._names.items() if f"{project}/" not in gone}
        held, lost = ({key for key in keys if not key.startswith(gone)} for keys in (self._held, self._lost))
        known = Remembered(stores, sorted(held), sorted(lost))
        if known != self._known:
            with suppress(OSError):  # a full disk is told by another sign
                write_document(self._path, known)
                self._known = known


def _tried_out(store: online.OnlineStore) -> tuple[str, LoopwrightError | None]:
    """Return by what a store is known; empty, with the reason, where it takes no rows."""
    try:
        return store.try_out(), None
    except LoopwrightError as error:
        return "", error
