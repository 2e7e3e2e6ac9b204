"""The contract of an online store and the choice of one by URL."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from loopwright.features.types import BoundView
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.errors import LoopwrightError, Unavailable
from loopwright.kernel.plugins import add_built_in, load_plugin

SLACK_US = 48 * HOUR_US
"""How far moments may lie behind an entity's newest row and still be answered; who fills a store reads so far back."""

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

Bodies = Mapping[str, bytes]
"""Entity -> what is kept of it for one view."""
Entities = Mapping[str, Sequence[str | None]]
"""Join key column of a view -> entities as text, None where there is none."""
Level = Literal["rows", "begun", "filled"]
"""What a store has of a view: pushed rows alone, a fill that has begun (or of an older version), one that has ended."""
FILLED = "#filled"
"""Stands among the marks of a view of which a fill has ended."""
OF_STORE: dict[str, Any] = {"part": "online store"}
"""Details of an error for which the store is to blame: whoever sent the rows, or made the model, cannot mend it."""

_REDIS = "loopwright.features.online.redis:RedisOnlineStore"
add_built_in(
    "online_stores",
    {"sqlite": "loopwright.features.online.sqlite:SqliteOnlineStore", "redis": _REDIS, "rediss": _REDIS},
)
add_built_in(
    "online_servers", dict.fromkeys(("redis", "rediss"), "loopwright.features.online.redis_server:RedisServer")
)


class Patience(NamedTuple):
    """How long an online store is waited for, seconds: while others keep it busy, and for one answer of it."""

    others_s: float
    answer_s: float


LONG, SHORT = Patience(30.0, 120.0), Patience(0.5, 3.0)
"""Of whoever needs what a store has, and of whoever looks whether it answers."""


class Lookup(NamedTuple):
    """Features by the plan's name: float64 (n,) with NaN where missing, or a list of texts and None.

    ``reasons`` says why a value is missing, uint8 (n,), as places in ``types.MISSING``. ``event_at`` says when the row
    behind a value happened, int64 (n,), microseconds UTC, ``NEVER`` where no row is known; None unless asked for.
    """

    columns: "dict[str, NDArray[np.float64] | list[str | None]]"
    reasons: "dict[str, NDArray[np.uint8]]"
    event_at: "dict[str, NDArray[np.int64]] | None" = None

    def only(self, names: Iterable[str]) -> "Lookup":
        """Return these features alone, in this order."""
        chosen = list(names)
        event_at = None if self.event_at is None else {name: self.event_at[name] for name in chosen}
        columns = {name: self.columns[name] for name in chosen}
        return Lookup(columns, {name: self.reasons[name] for name in chosen}, event_at)


class Pushed(NamedTuple):
    """What a push did: rows taken, and (view, entity) bodies that changed."""

    rows: int
    changed: int


class Tried(NamedTuple):
    """What a store says that was tried out.

    Args:
        name: By what it is known; empty where others write all the time and nobody has given it a name yet.
        at: What tells it apart from what it was before this; empty in a store that never comes back older.
    """

    name: str
    at: str = ""


class Forgotten(NamedTuple):
    """What was dropped: entities, and the bytes of what was kept of them."""

    entities: int
    size_bytes: int


class Part(NamedTuple):
    """Rows of one dataset after one of its transforms, and the views that see them so."""

    views: Sequence[BoundView]
    frame: "pl.DataFrame"


class Upkeep(Protocol):
    """What a store lets go of, some at a time, so that pushes get their turn."""

    def forget(self, view_key: str) -> int:
        """Drop every row of a view, some at a time, so that pushes get their turn; return how many entities it had."""
        ...

    def forget_left_over(self) -> int:
        """Drop what neither answers nor is filled, of fills whose process ended; return how many entities it had."""
        ...

    def view_keys(self, project: str) -> set[str]:
        """Return the keys of a project's views that hold rows or were filled."""
        ...

    def forget_expired(self, view: BoundView, now_us: int) -> Forgotten:
        """Drop entities of a column view whose every value is older than its time to live, with room for late requests.

        What they would answer is missing either way: as never found from then on, no longer as expired. An aggregate
        view loses none: an entity whose windows are empty counts 0, one that was never seen is missing.

        Args:
            view: The view.
            now_us: The project's present moment, microseconds UTC.
        """
        ...

    def shrink(self) -> int:
        """Give the room of what was dropped back to the disk, some at a time, so that pushes get their turn.

        Returns:
            How many bytes the store is smaller.
        """
        ...


class OnlineStore(Protocol):
    """Keeps recent rows of each (view, entity). The same rows in any order, and repeated, give the same state.

    Several processes may write to one store.
    """

    @property
    def upkeep(self) -> Upkeep:
        """What lets go of what is no longer needed."""
        ...

    def push(self, views: Sequence[BoundView], frame: "pl.DataFrame", now_us: int | None = None) -> Pushed:
        """Merge rows of one dataset, after its transform, into every view of it.

        Args:
            views: Views of that dataset, of any plans.
            frame: The rows.
            now_us: The present moment; rows that lie more than a day after it are refused.

        Raises:
            InvalidInput: A column is missing, or a value or moment cannot be used.
        """
        ...

    def push_together(
        self, parts: "Sequence[Part]", now_us: int | None = None, before_commit: Callable[[], None] = ...
    ) -> Pushed:
        """Merge several frames of one dataset, all or none.

        Args:
            parts: Views, and the rows as these see them.
            now_us: As ``push``.
            before_commit: Called when every row has been taken; where it raises, none is.

        Raises:
            InvalidInput: As ``push``.
        """
        ...

    def fill(
        self,
        view: BoundView,
        frame: "pl.DataFrame",
        fragments: Iterable[str],
        until_us: int,
        generation: str | None = None,
        name: str = "",
    ) -> Pushed:
        """Merge rows of a dataset version in bulk; rows after ``until_us`` are left out.

        Args:
            view: The view.
            frame: The rows.
            fragments: Digests of the fragments that are all in with this, to be remembered.
            until_us: Latest event time, microseconds UTC.
            generation: What ``grow`` returned, to fill that alone; None for what answers, and what is filled beside it.
            name: By what the store was known when the fill began; empty for whichever it is. What one that lost all it
                held has of these rows may be the last of them, and no fragment is all in.

        Raises:
            Unavailable: Another one was begun in place of this generation, or the store is known by another name.
        """
        ...

    def grow(self, view_key: str) -> str:
        """Begin to fill a view anew beside what answers meanwhile, in place of one that was begun before.

        What is pushed from now on goes into both.
        """
        ...

    def switch(self, generation: str) -> int:
        """Let what was filled beside answer from now on, at once, and drop what did; return how many entities it had.

        Said again it changes nothing, and returns 0.

        Raises:
            Unavailable: Another one was begun in place of this generation.
        """
        ...

    def filled(self, view_key: str) -> set[str]:
        """Return the digests of the fragments that a view was filled from."""
        ...

    def finish(self, view_key: str, name: str = "") -> int:
        """Remember that a fill of a view has ended; return how many entities the view holds.

        Args:
            view_key: The view.
            name: As ``fill``.

        Raises:
            Unavailable: The store is known by another name.
        """
        ...

    def held(self, view_keys: Iterable[str]) -> dict[str, Level]:
        """Return what there is of those views that hold rows or were filled."""
        ...

    def try_out(self, seen: Tried | None = None) -> Tried:
        """Write a little, and return by what this store is known: another name tells that it lost what it held.

        Args:
            seen: What whoever asks was told the last time. A store that does not know of that any more came back as it
                was before: it lost its newest rows, gets another name, and was filled from nothing.

        Raises:
            StorageFull: It has no room.
            Unavailable: It takes no rows.
        """
        ...

    def lookup(
        self,
        views: Sequence[BoundView],
        entities: Entities,
        at_us: "Sequence[int] | NDArray[np.int64]",
        own: "NDArray[np.int64] | None" = None,
        *,
        is_dated: bool = False,
    ) -> Lookup:
        """Return the views' features at n moments, by the same rule that builds training sets.

        Args:
            views: Views of one plan.
            entities: n for each join key column of the views.
            at_us: int64 (n,), microseconds UTC.
            own: int64 (n,), identities of the rows that these requests are; views that are ``is_own`` leave them out.
            is_dated: Say too when the row behind each value happened.
        """
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...


class StoreServer(Protocol):
    """What holds the stores of several projects, by an address of its own."""

    def restricted_url(self, url: str, project: str) -> str:
        """Return the address by which code of a project opens its store, and can open nothing else there."""
        ...

    def projects(self, url: str) -> set[str]:
        """Return the projects of which it holds stores, or lets code in."""
        ...

    def remove(self, url: str, project: str) -> None:
        """Remove what it holds of a project."""
        ...

    def caveat(self, url: str) -> str:
        """Return what of how it is set up loses rows that it took; empty for nothing, or where nobody may know."""
        ...


def lost_meanwhile() -> Unavailable:
    """Return the error of a fill whose store is another than the one in which it began."""
    step = "features.start_materialize fills the view from the beginning"
    return Unavailable("the online store lost what it held meanwhile", next_step=step, details=OF_STORE)


def is_of_store(error: Exception) -> bool:
    """Say whether an online store is to blame for an error, or how it is set up."""
    if not isinstance(error, LoopwrightError):
        return False
    return error.details.get("part") == OF_STORE["part"] or error.field == "LOOPWRIGHT_ONLINE"


def open_online_store(url: str, patience: Patience = LONG) -> OnlineStore:
    """Open a store by URL; a path or ``sqlite:///path`` is a SQLite file."""
    scheme, is_url, _ = url.partition("://")
    store: OnlineStore = load_plugin("online_stores", scheme if is_url else "sqlite")(url, patience=patience)
    return store
