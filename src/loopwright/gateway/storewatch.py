"""Whether online stores still hold what live deployments read there, and take what is pushed."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from loopwright.features import BoundView, bind_views, online
from loopwright.gateway.disk import read_document, write_document
from loopwright.gateway.releases.known import Known
from loopwright.gateway.troubles import Sign
from loopwright.kernel.errors import LoopwrightError
from loopwright.serving import Release

REFUSED_S = 60.0
"""How long a refused push is told where no other comes."""
WAITS_S = 1.0
"""How long all looks together are waited for; what they find later is told the next time."""
ANSWERS_WITHIN_S = 5.0
"""A store that takes longer does not answer."""
_SEE = (
    "see what the project's code does to its store; loopwright doctor looks at a Redis, and a file may be filled anew"
)


class Remembered(msgspec.Struct):
    """What was seen of stores, for the next life of this gateway too.

    Args:
        stores: By which name each project's store was known last.
        tried: What tells each apart from what it was before it was tried out last.
        held: Keys of views that have held rows.
        lost: Those of them that were in a store that is gone, and were not filled since.
    """

    stores: dict[str, str] = {}
    tried: dict[str, str] = {}
    held: list[str] = []
    lost: list[str] = []


class _Read(NamedTuple):
    """A view that a live deployment reads."""

    release: Release
    plan_digest: str
    view: BoundView


class _Found(NamedTuple):
    """What a store says that was tried out, why it takes no rows, and what it holds."""

    tried: online.Tried
    refusal: LoopwrightError | None
    held: dict[str, online.Level]


class _Look(NamedTuple):
    """A look at the store of a project: since when (monotonic seconds), for which views, and what it finds."""

    since_s: float
    read: list[_Read]
    remembered: set[str]
    found: "Future[_Found]"


class StoreWatch:
    """Looks whether online stores hold what live deployments read there, and take rows.

    A view without rows is not the only one that lost them: the first push after a loss makes one that answers, wrongly.
    So each store has a name; another one tells that what the one before held is gone, or the newest of it, until a fill
    has ended.

    Code of a project may keep its store from answering: each is looked at in a thread of its own, that keeps nobody.

    Args:
        path: Where it is remembered which stores there were, and which views have held rows.
        releases: Returns what is live.
        stores: The stores; one is opened only where a live plan reads it.
        known: Returns what the server said last: which projects are gone, and what of pushes is left out of the log.
        waits_s: How long all looks together are waited for.
    """

    def __init__(
        self,
        path: Path,
        releases: Callable[[], Iterable[Release]],
        stores: online.OnlineStores,
        known: Callable[[], Known] = Known,
        waits_s: float = WAITS_S,
    ) -> None:
        self._path, self._releases, self._all, self._said = path, releases, stores, known
        self._waits_s = waits_s
        self._looks: dict[str, _Look] = {}
        self._told: dict[str, list[Sign]] = {}
        self._refused: dict[str, tuple[float, str]] = {}
        kind: type[Remembered | list[str]] = Remembered | list[str]  # type: ignore[assignment]
        found = read_document(path, kind)  # older versions kept the views alone
        self._known = found if isinstance(found, Remembered) else Remembered(held=found or [])
        self._held, self._lost = set(self._known.held), set(self._known.lost)
        tried = self._known.tried
        self._tried = {
            project: online.Tried(name, tried.get(project, "")) for project, name in self._known.stores.items()
        }

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
        read = {project: views for project, views in read.items() if views}
        self._looks = {project: look for project, look in self._looks.items() if project in read}
        for project, views in read.items():
            if project not in self._looks:
                self._looks[project] = self._begin(project, views)
        ended = wait([look.found for look in self._looks.values()], self._waits_s).done
        self._told = {
            project: self._of_project(look) if look.found in ended else self._meanwhile(project, look)
            for project, look in self._looks.items()
        }
        self._looks = {project: look for project, look in self._looks.items() if look.found not in ended}
        for told in self._told.values():
            yield from told
        self._remember()
        for project, (until, why) in list(self._refused.items()):
            if until > time.monotonic():
                yield Sign("store", f"a push was refused: {why}", project)
            else:
                self._refused.pop(project, None)

    def _begin(self, project: str, read: list[_Read]) -> _Look:
        remembered = {key for key in self._held if key.startswith(f"{project}/")}
        look = _Look(time.monotonic(), read, remembered, Future())
        keys, seen = {each.view.key for each in read} | remembered, self._tried.get(project)

        def do() -> None:
            try:
                look.found.set_result(_look(self._all, project, keys, seen))
            except BaseException as error:  # noqa: BLE001 - it is told as what is wrong with this store
                look.found.set_exception(error)

        threading.Thread(target=do, name=f"store of {project}", daemon=True).start()
        return look

    def _meanwhile(self, project: str, look: _Look) -> list[Sign]:
        """Return what is told of a store while a look at it is under way: what was, unless it takes too long."""
        if time.monotonic() - look.since_s <= ANSWERS_WITHIN_S:
            return self._told.get(project, [])
        why = "features cannot be looked up: the online store does not answer"
        return [Sign("store", why, project, is_in_the_way=True, next_step=_SEE)]

    def _of_project(self, look: _Look) -> list[Sign]:
        """Return what is wrong with a store by the look at it."""
        project = look.read[0].release.project
        try:
            tried, refusal, held = look.found.result()
        except LoopwrightError as error:
            why = f"features cannot be looked up: {error}"
            return [Sign("store", why, project, is_in_the_way=True, next_step=error.next_step or "")]
        except Exception as error:  # noqa: BLE001 - code of the project may have put anything there
            why = f"features cannot be looked up: {type(error).__name__}: {error}"
            return [Sign("store", why, project, is_in_the_way=True, next_step=_SEE)]
        signs = []
        if refusal is not None:
            why = f"the online store takes no rows: {refusal}"
            signs = [Sign("store", why, project, is_in_the_way=True, next_step=refusal.next_step or "")]
        self._learn(project, tried, held, look.remembered - {each.view.key for each in look.read})
        found = [self._sign(each, held.get(each.view.key)) for each in look.read]
        return [*signs, *(sign for sign in found if sign)]

    def _learn(self, project: str, tried: online.Tried, held: Mapping[str, online.Level], unread: set[str]) -> None:
        """Take note of what a store holds; views that nothing reads are remembered as long as it holds them."""
        before = self._tried.get(project, tried)
        if tried.name and before.name != tried.name:
            self._lost |= {key for key in self._held if key.startswith(f"{project}/")}
        if tried.name:
            self._tried[project] = tried
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
            why = "lost its rows with the online store, all or the newest, and answers from what it has"
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
        if (level is None or key in self._lost) and self._said().pushed.get(f"{release.project}/{dataset.name}"):
            step += (
                f"; what was pushed to {dataset.name}, of which not all is logged, comes with its next version alone"
            )
        told = f"the view {name} that {release.deployment} reads {why}"
        is_in_the_way = level is None or has_past
        return Sign("store", told, release.project, release.deployment, is_in_the_way, step, name, read.plan_digest)

    def _remember(self) -> None:
        gone = tuple(f"{project}/" for project in self._said().deleted)
        tried = {project: tried for project, tried in self._tried.items() if f"{project}/" not in gone}
        stores = {project: each.name for project, each in tried.items()}
        signs = {project: each.at for project, each in tried.items() if each.at}
        held, lost = ({key for key in keys if not key.startswith(gone)} for keys in (self._held, self._lost))
        known = Remembered(stores, signs, sorted(held), sorted(lost))
        if known != self._known:
            with suppress(OSError):  # a full disk is told by another sign
                write_document(self._path, known)
                self._known = known


def _look(stores: online.OnlineStores, project: str, keys: set[str], seen: online.Tried | None) -> _Found:
    """Look at the store of a project, which is let go of at once: a file that is open stays, whoever removes it."""
    stores.address_for_code(project)
    store = stores.open(project, online.SHORT)
    try:
        return _Found(*_tried_out(store, seen), store.held(keys))
    finally:
        store.close()


def _tried_out(store: online.OnlineStore, seen: online.Tried | None) -> tuple[online.Tried, LoopwrightError | None]:
    """Return what a store says that is tried out; no name, with the reason, where it takes no rows."""
    try:
        return store.try_out(seen), None
    except LoopwrightError as error:
        return online.Tried(""), error
