"""The online store in a Redis, or what speaks its protocol, for gateways and workers on several machines.

Each look-up is one round trip, to a script that reads the generation that answers and its bodies at one moment. Who
writes reads, merges here, and has a script put down the result if nobody changed these bodies meanwhile; else it
merges again. All keys of a project bear its name in braces: a cluster keeps them together, and a user of Redis may be
given them alone.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from loopwright.features.online import generations
from loopwright.features.online.arrivals import MOST_ROWS, Change, Merging, count_entities, into_generations
from loopwright.features.online.base import (
    FILLED,
    LONG,
    SLACK_US,
    Entities,
    Forgotten,
    Level,
    Lookup,
    Part,
    Patience,
    Pushed,
    Tried,
    lost_meanwhile,
)
from loopwright.features.online.latest import newest_event_at
from loopwright.features.online.redis_client import TooMuch, client_of, shown, text_of, translated
from loopwright.features.online.redis_scripts import NAME_LETTERS, SCRIPTS
from loopwright.features.online.state import Arrival, in_parts, look_up
from loopwright.features.online.upkeep import LATE_REQUESTS_US
from loopwright.features.types import BoundView, ColumnViewSpec
from loopwright.kernel.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

TRIES = 50
"""How often what others changed meanwhile is merged again, before a caller is told to come again."""
_ENTITIES_AT_ONCE = 200
"""What one script changes: a Redis does nothing else meanwhile."""
_MARKS_AT_ONCE = 1_000
_PUSH_BYTES = 256 << 10
"""What has to have room for a moment when a store is tried out: less would pass where no push does."""


_Wanted = tuple[str, Sequence[str]]
"""Key of a view, and entities."""
_T = TypeVar("_T")


class RedisOnlineStore:
    """Recent rows of each (view, entity) of one project in a Redis.

    Args:
        url: ``redis://user:password@host:port/0#project``, or ``rediss`` for TLS.
        slack_us: How far moments may lie behind an entity's newest row.
        most_rows: How many newest rows of an entity a column view answers from at most.
        patience: How long Redis is waited for.

    Raises:
        InvalidInput: The address names no project, or the library is missing.
    """

    def __init__(
        self, url: str, slack_us: int = SLACK_US, most_rows: int = MOST_ROWS, patience: Patience = LONG
    ) -> None:
        address, _, project = url.partition("#")
        if not project:
            raise InvalidInput("this address names no project", field="url", value=shown(url), rule="…#project")
        self._at = _Project(address, project, patience.answer_s)
        self._merging = Merging(slack_us, most_rows)
        self.upkeep = RedisUpkeep(self._at, slack_us)
        self._seen: Tried | None = None

    def push(self, views: Sequence[BoundView], frame: "pl.DataFrame", now_us: int | None = None) -> Pushed:
        """Merge rows of one dataset, after its transform, into every view of it."""
        return self.push_together([Part(views, frame)], now_us)

    def push_together(
        self, parts: Sequence[Part], now_us: int | None = None, before_commit: Callable[[], None] = lambda: None
    ) -> Pushed:
        """Merge several frames of one dataset, all or none; ``before_commit`` may still refuse.

        Where Redis goes away right after that, the caller hears of it although whatever that did stays: the same rows
        sent again, or the next fill, bring the store to where it would be.
        """
        arrivals = self._merging.arrived(parts, now_us)
        changed = self._merge_in_parts(arrivals, cache(before_commit))
        return Pushed(max((part.frame.height for part in parts), default=0), changed)

    def fill(
        self,
        view: BoundView,
        frame: "pl.DataFrame",
        fragments: Iterable[str],
        until_us: int,
        generation: str | None = None,
        name: str = "",
    ) -> Pushed:
        """Merge rows of a dataset version in bulk, without those after ``until_us``, and remember these fragments.

        Some entities at a time, so that pushes get their turn; broken off, the next fill merges the same rows again.
        """
        arrival, height = self._merging.filled_in(view, frame, until_us)
        if generation is not None:
            arrival = arrival._replace(view_key=generation)
        changed = 0
        for part in in_parts(arrival, _ENTITIES_AT_ONCE):
            changed += self._merge_in_parts([part])
            self._check_still(name)
        marks, nothing = list(fragments), arrival.of_rows(np.empty(0, np.int64))
        for first in range(0, len(marks), _MARKS_AT_ONCE):
            self._merge([nothing], marks[first : first + _MARKS_AT_ONCE], name=name)
        return Pushed(height, changed)

    def grow(self, view_key: str) -> str:
        """Begin to fill a view anew beside what answers meanwhile; what is pushed goes into both."""
        generation = generations.next_of(view_key)
        self._at.run("grow", generation)
        return generation

    def switch(self, generation: str) -> int:
        """Let what was filled beside answer from now on, and drop what did, at once."""
        return int(self._at.run("switch", generation))

    def filled(self, view_key: str) -> set[str]:
        """Return the digests of the fragments that a view was filled from."""
        marks = map(text_of, self._at.run("filled", view_key))
        return {mark for mark in marks if mark != FILLED and not mark.startswith("@")}

    def finish(self, view_key: str, name: str = "") -> int:
        """Remember that a fill of a view has ended; return how many entities the view holds."""
        self._check_still(name)
        return int(self._at.run("finish", view_key, FILLED, name))

    def held(self, view_keys: Iterable[str]) -> dict[str, Level]:
        """Return what there is of those views that hold rows or were filled."""
        found = self._at.run("holding", msgspec.msgpack.encode(sorted(set(view_keys))), FILLED)
        return {text_of(key): level.decode() for key, level in zip(found[::2], found[1::2], strict=True)}

    def try_out(self, seen: Tried | None = None) -> Tried:
        """Write a little, and return by what this store is known: another name tells that it lost what it held.

        A Redis may come back as it was minutes ago: where it starts again from its last picture of all it held, and
        where another takes its place that had not heard of the newest.
        """
        self._seen = self._sign(seen, bytes(_PUSH_BYTES))
        return self._seen

    def lookup(
        self,
        views: Sequence[BoundView],
        entities: Entities,
        at_us: "Sequence[int] | NDArray[np.int64]",
        own: "NDArray[np.int64] | None" = None,
        *,
        is_dated: bool = False,
    ) -> Lookup:
        """Return the views' features at n moments, by the same rule that builds training sets."""
        wanted = [
            (view.key, [name for name in dict.fromkeys(entities[view.view.entity]) if name is not None])
            for view in views
        ]
        bodies: dict[str, dict[str, bytes]] = {key: {} for key, _ in wanted}
        for (key, names), read in self._bodies(wanted):
            bodies[key] |= _there(names, read)
        return look_up(views, entities, np.asarray(at_us, np.int64), bodies, own, is_dated=is_dated)

    def close(self) -> None:
        """Let go of the connections."""
        self._at.close()

    def _sign(self, seen: Tried | None, more: bytes = b"") -> Tried:
        name, sign = (secrets.token_hex(NAME_LETTERS // 2) for _ in range(2))
        return Tried(*map(text_of, self._at.run("try_out", name, sign, *(seen or ("", "")), more)))

    def _check_still(self, name: str) -> None:
        """Check that the store, where it is to have this name, holds what it did when it was asked last.

        Raises:
            Unavailable: It lost that, or the newest of it.
        """
        if name:
            self._seen = self._sign(self._seen)
            if self._seen.name != name:
                raise lost_meanwhile()

    def _bodies(self, wanted: Sequence[_Wanted]) -> "Iterator[tuple[_Wanted, list[bytes | None]]]":
        """Yield what is kept of entities of views; what is too much for one script is read by several."""
        try:
            found = self._at.run("look_up", msgspec.msgpack.encode(wanted))
        except TooMuch:
            halves = _halved(wanted, _halves_of_wanted)
            if not halves:
                raise
            for half in halves:
                yield from self._bodies(half)
        else:
            yield from zip(wanted, found, strict=True)

    def _merge_in_parts(self, arrivals: Sequence[Arrival], before_commit: Callable[[], None] = lambda: None) -> int:
        """Merge what arrived; what is too much for one script is done by several, and not at one moment."""
        try:
            return self._merge(arrivals, [], before_commit)
        except TooMuch:
            halves = _halved(arrivals, _halves_of_arrival)
            if not halves:
                raise
            return sum(self._merge_in_parts(half, before_commit) for half in halves)

    def _merge(
        self,
        arrivals: Sequence[Arrival],
        marks: Sequence[str],
        before_commit: Callable[[], None] = lambda: None,
        name: str = "",
    ) -> int:
        """Merge what arrived; what others change meanwhile is merged again. Say how many entities changed.

        ``before_commit`` is called each time. Where a name is given, the store has to have it.
        """
        for _ in range(TRIES):
            read = self._read(arrivals)
            changes = self._merging.changes(into_generations(arrivals, read.taking.__getitem__), read.bodies)
            before_commit()
            marked = [(key, mark) for keys in read.taking.values() for key in keys for mark in marks]
            if self._write(read, changes, marked, name):
                return count_entities(changes)
        raise Unavailable("others change the same features all the time", next_step="send these rows again")

    def _read(self, arrivals: Sequence[Arrival]) -> "_Read":
        asked = [(each.view_key, each.rows.entity.unique().drop_nulls().to_list()) for each in arrivals]
        found = self._at.run("read", msgspec.msgpack.encode(asked)) if asked else []
        read = _Read({}, {}, {})
        for (key, names), (entry, into, *bodies) in zip(asked, found, strict=True):
            read.entries[generations.view_of(key)] = entry
            read.taking[key] = list(map(text_of, into))
            for generation, held in zip(read.taking[key], bodies, strict=True):
                read.bodies[generation] = _there(names, held)
        return read

    def _write(self, read: "_Read", changes: Sequence[Change], marks: Sequence[tuple[str, str]], name: str) -> bool:
        if not changes and not marks:
            return True
        told: list[str | bytes | int] = [name, len(read.entries)]
        for view_key, entry in read.entries.items():
            told += [view_key, entry]
        told.append(len(changes))
        for key, entity, body in changes:
            told += [key, entity, _sha1(read.bodies[key].get(entity)), body]
        return bool(self._at.run("write", *told, len(marks), *chain.from_iterable(marks)))


class _Read(NamedTuple):
    """What was read: a view's entry in the table of generations, those that take its rows, and their bodies."""

    entries: dict[str, bytes]
    taking: dict[str, list[str]]
    bodies: dict[str, dict[str, bytes]]


class RedisUpkeep:
    """Drops rows of a store. What is dropped whole goes at once, its room is freed by Redis beside other work."""

    def __init__(self, project: "_Project", slack_us: int) -> None:
        self._at = project
        self._slack_us = slack_us

    def forget(self, view_key: str) -> int:
        """Drop every row of a view; return how many entities it had."""
        return int(self._at.run("forget", view_key))

    def forget_left_over(self) -> int:
        """Return 0: what no longer answers was dropped in the moment in which it no longer did."""
        return 0

    def view_keys(self, project: str) -> set[str]:
        """Return the keys of the project's views that hold rows or were filled; of another project none."""
        return {key for key in self._at.views() if key.startswith(f"{project}/")}

    def forget_expired(self, view: BoundView, now_us: int) -> Forgotten:
        """Drop entities of a column view whose every value is older than its time to live, with room for late requests.

        Some at a time; one that a push changes meanwhile stays.
        """
        spec = view.view
        if not isinstance(spec, ColumnViewSpec) or spec.ttl_us is None:
            return Forgotten(0, 0)
        before_us = now_us - spec.ttl_us - self._slack_us - LATE_REQUESTS_US
        generation, sizes = text_of(self._at.run("held", view.key)), list[int]()
        for some in self._at.bodies(generation, _ENTITIES_AT_ONCE):
            old = [(entity, _sha1(body)) for entity, body in some.items() if newest_event_at(body) < before_us]
            sizes += self._drop(generation, old)
        return Forgotten(len(sizes), sum(sizes))

    def _drop(self, generation: str, old: Sequence[tuple[str, str]]) -> list[int]:
        """Drop bodies, by entity and digest, that are as they were read; return the sizes of those."""
        try:
            sizes: list[int] = self._at.run("drop_bodies", generation, msgspec.msgpack.encode(old)) if old else []
        except TooMuch:
            if len(old) == 1:
                raise
            middle = len(old) // 2
            sizes = self._drop(generation, old[:middle]) + self._drop(generation, old[middle:])
        return sizes

    def shrink(self) -> int:
        """Return 0: Redis has its room back already."""
        return 0


class _Project:
    """What a Redis holds of one project, and how it is asked."""

    def __init__(self, address: str, project: str, answer_s: float) -> None:
        self.project = project
        self._of_project = f"lw:{{{project}}}:"
        self._client = client_of(address, answer_s)
        self._scripts = {name: self._client.register_script(text) for name, text in SCRIPTS.items()}
        with translated(address):
            self._client.ping()
        self._address = address

    def run(self, script: str, *args: Any) -> Any:
        """Run a script; raises as ``translated`` does."""
        with translated(self._address):
            return self._scripts[script](keys=[f"{self._of_project}g"], args=[self._of_project, *args])

    def views(self) -> set[str]:
        """Return the keys of the views there are."""
        return {generations.view_of(text_of(each)) for each in self.run("generations")}

    def bodies(self, generation: str, at_once: int) -> Iterator[dict[str, bytes]]:
        """Yield the bodies of a generation, some at a time, by entity."""
        cursor = 0
        while True:
            with translated(self._address):
                cursor, some = self._client.hscan(f"{self._of_project}b:{generation}", cursor, count=at_once)
            yield {text_of(entity): body for entity, body in some.items()}
            if cursor == 0:
                return

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def _halved(some: Sequence[_T], divide: Callable[[_T], Sequence[_T]]) -> list[Sequence[_T]]:
    """Return the halves of several; of a single one what it is divided into; none where that is one alone."""
    if len(some) > 1:
        middle = len(some) // 2
        return [some[:middle], some[middle:]]
    parts = divide(some[0])
    return [[part] for part in parts] if len(parts) > 1 else []


def _halves_of_wanted(wanted: _Wanted) -> list[_Wanted]:
    key, names = wanted
    middle = len(names) // 2
    return [(key, half) for half in (names[:middle], names[middle:]) if half]


def _halves_of_arrival(arrival: Arrival) -> list[Arrival]:
    entities: int = arrival.rows.entity.n_unique()
    return list(in_parts(arrival, max(1, -(-entities // 2))))


def _there(names: Sequence[str], bodies: Sequence[bytes | None]) -> dict[str, bytes]:
    return {name: body for name, body in zip(names, bodies, strict=True) if body is not None}


def _sha1(body: bytes | None) -> str:
    return "" if body is None else hashlib.sha1(body, usedforsecurity=False).hexdigest()
