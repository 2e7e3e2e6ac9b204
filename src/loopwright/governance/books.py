"""Books: what the events of the log say that tables must hold, worked out anew and compared row by row.

The chain proves the log; this proves by the log the tables that give somebody power: a role, a yes, an alias, a rule.
Whoever writes the database past the verbs leaves a row that no event accounts for. Each room declares the ledgers of
its own tables in its ``ledgers.py``. What an event does not tell cannot be compared: a fact that is compared from some
version on is a field with a default. A migration that rewrites such a row has to emit an event.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from loopwright.governance import sql
from loopwright.governance.events import ProjectDeleted
from loopwright.kernel.errors import LoopwrightError
from loopwright.kernel.events import Event, Facts, event_type
from loopwright.store.columns import Table
from loopwright.store.engine import Connection

Key = tuple[Any, ...]
Values = dict[str, Any]
Fold = Callable[["Account", Event], None]


class _Is:
    """Expects any value, or none: the event says that there is one, and not which."""

    def __init__(self, is_set: bool) -> None:
        self._is_set = is_set

    def __eq__(self, other: object) -> bool:
        return (other is not None) is self._is_set

    def __hash__(self) -> int:
        return hash(self._is_set)

    def __repr__(self) -> str:
        return "set" if self._is_set else "not set"


SET, UNSET = _Is(True), _Is(False)


class Account:
    """The rows of one table as the events up to now leave them."""

    def __init__(self) -> None:
        self._rows: dict[Key, tuple[Values, Event]] = {}
        self._leaving: set[Key] = set()

    def put(self, key: Key, event: Event, **columns: Any) -> None:
        """Expect a row with these columns, in place of what was expected there."""
        self._rows[key] = columns, event
        self._leaving.discard(key)

    def change(self, key: Key, event: Event, **columns: Any) -> None:
        """Expect other values in some columns of a row."""
        before = self._rows[key][0] if key in self._rows else {}
        self._rows[key] = {**before, **columns}, event

    def drop(self, key: Key) -> None:
        """Expect no such row any more."""
        self._rows.pop(key, None)

    def drop_where(self, is_meant: Callable[[Key, Values], bool]) -> None:
        """Expect none of some rows any more, by their key and what is expected of them."""
        for key in [key for key, (values, _) in self._rows.items() if is_meant(key, values)]:
            del self._rows[key]

    def let_go_where(self, is_meant: Callable[[Key, Values], bool]) -> None:
        """Expect that some rows go, some time from now."""
        self._leaving.update(key for key, (values, _) in self._rows.items() if is_meant(key, values))

    def take(self, key: Key) -> tuple[Values, Event] | None:
        """Return what is expected of a row, once."""
        return self._rows.pop(key, None)

    def left(self) -> Iterator[tuple[Key, Event]]:
        """Yield what was expected and not taken."""
        for key, (_, event) in self._rows.items():
            if key not in self._leaving:
                yield key, event


class Ledger(msgspec.Struct, frozen=True):
    """What is known of one table: its key, the events that tell of it, and what each changes.

    ``also`` computes further columns of a row, such as the digest of a document, for events that tell no more.
    """

    table: Table
    key: tuple[str, ...]
    types: tuple[str, ...]
    fold: Fold
    also: Callable[[Mapping[str, Any]], Values] | None = None


LEDGERS: dict[str, Ledger] = {}
"""Every ledger by the name of its table, filled as the ``ledgers`` of rooms are imported."""


def ledger(
    table: Table,
    *,
    key: tuple[str, ...],
    told_by: tuple[type[Facts], ...],
    also: Callable[[Mapping[str, Any]], Values] | None = None,
) -> Callable[[Fold], Fold]:
    """Mark ``function(account, event)`` as what turns events into rows of a table.

    Args:
        table: Which.
        key: Columns that name a row, ``project_id`` first where it is one of them.
        told_by: The events it is called with.
        also: Computes further columns of a row.
    """

    def keep(fold: Fold) -> Fold:
        types = tuple(event_type(kind) for kind in told_by)
        LEDGERS[str(table.name)] = Ledger(table, key, types, fold, also)
        return fold

    return keep


Unmaking = Callable[[Mapping[str, Account], Event], None]
_UNMAKING: dict[str, Unmaking] = {}


def unmaking(told_by: type[Facts]) -> Callable[[Unmaking], Unmaking]:
    """Mark ``function(accounts, event)`` as what takes rows out of accounts, named by their tables, of other rooms."""

    def keep(unmake: Unmaking) -> Unmaking:
        _UNMAKING[event_type(told_by)] = unmake
        return unmake

    return keep


class Mismatch(msgspec.Struct, frozen=True):
    """A row that the events do not account for. ``project`` is ``*`` where it holds in every one."""

    table: str
    project: str
    row: str
    message: str

    def __str__(self) -> str:
        return f"{self.table}: {self.row} of {self.project}: {self.message}"


class Books:
    """The accounts of every ledger; they are told the events in order, and then compared with the tables.

    Raises:
        RuntimeError: No room has said which rows its events account for: books without ledgers would find all well.
    """

    def __init__(self) -> None:
        if not LEDGERS:
            raise RuntimeError("no ledger is known: loopwright.rooms.import_rooms has to come first")
        self._accounts = {name: Account() for name in LEDGERS}
        self._by_type: dict[str, list[str]] = defaultdict(list)
        for name, known in LEDGERS.items():
            for kind in known.types:
                self._by_type[kind].append(name)
        self._deleted: set[str] = set()
        self._unread: list[Mismatch] = []

    def tell(self, event: Event) -> None:
        """Take one event into account."""
        if event.type == event_type(ProjectDeleted):
            self._deleted.add(event.project)
        if event.type in _UNMAKING:
            _UNMAKING[event.type](self._accounts, event)
        for name in self._by_type.get(event.type, ()):
            try:
                LEDGERS[name].fold(self._accounts[name], event)
            except LoopwrightError as error:
                at = f"event {event.position}"
                self._unread.append(Mismatch(name, event.project, at, f"it tells what cannot be read: {error}"))

    def compare(self, connection: Connection) -> list[Mismatch]:
        """Return what the tables hold otherwise than the events say. Rows of a deleted project may be gone."""
        told = list(self._unread)
        for name, known in LEDGERS.items():
            account = self._accounts[name]
            for row in sql.each_row(connection, known.table):
                told += _compare(known, account, row)
            for key, event in account.left():
                if event.project not in self._deleted:
                    message = f"it is gone, though {_by(event)} made it and none removed it"
                    told.append(Mismatch(name, event.project, _shown(known, key), message))
        return told


def _compare(known: Ledger, account: Account, row: Mapping[str, Any]) -> Iterator[Mismatch]:
    key = tuple(row[column] for column in known.key)
    name, project, shown = str(known.table.name), row["project_id"], _shown(known, key)
    expected = account.take(key)
    if expected is None:
        yield Mismatch(name, project, shown, "no event made it")
        return
    columns, event = expected
    values = {**row, **(known.also(row) if known.also else {})}
    for column, value in columns.items():
        if value != values[column]:
            message = f"{column} is {values[column]!r}, but {value!r} by {_by(event)}"
            yield Mismatch(name, project, shown, message)


def _shown(known: Ledger, key: Key) -> str:
    parts = [str(value) for column, value in zip(known.key, key, strict=True) if column != "project_id"]
    return "/".join(parts) or "itself"


def _by(event: Event) -> str:
    return f"{event.type} of {event.actor}" + (f" at position {event.position}" if event.position else "")
