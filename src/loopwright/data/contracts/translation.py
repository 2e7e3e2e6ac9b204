"""What a contract of others says in our words: a declaration, and what could not be said, each with why. Pure."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from loopwright.data.declarations import Severity
from loopwright.data.types import CheckSpec, KnownAt
from loopwright.kernel.bounds import MOST_RULES
from loopwright.kernel.errors import InvalidInput, shorten
from loopwright.kernel.refs import NAME

_UNNAMED = "dataset"
_MOST_KEPT = 1000
"""Checks of one table, which are compared with each other; far beyond what a dataset has."""
_MOST_TOLD = 30
"""Names in one sentence."""


class Taken(msgspec.Struct, frozen=True):
    """A check that a contract asks for; ``note`` is what it says otherwise, empty where it says the same."""

    check: CheckSpec
    note: str = ""


class LeftOut(msgspec.Struct, frozen=True):
    """A part of a contract that no declaration says, and why."""

    what: str
    why: str


class Translation(msgspec.Struct, frozen=True):
    """One table of a contract as a dataset: what is declared of it, and what is left out."""

    name: str
    key: list[str]
    time: str | None
    known_at: dict[str, KnownAt]
    personal: list[str]
    checks: list[Taken]
    left_out: list[LeftOut]


class How(msgspec.Struct, frozen=True):
    """What a rule of others says beside what should hold."""

    severity: Severity = "block"
    most_share: float = 0.0
    note: str = ""

    @property
    def words(self) -> dict[str, Any]:
        """Return it as arguments of a check of rows."""
        return {"severity": self.severity, "most_share": self.most_share}


def no_check(why: str) -> InvalidInput:
    """Return the error that says why a rule is none of our checks."""
    return InvalidInput(why)


class Collector:
    """Gathers what a contract says of one table.

    Args:
        name: What the contract calls it; whatever it is, the dataset has a name that may be used.
    """

    def __init__(self, name: object) -> None:
        self.key: list[str] = []
        self.time: str | None = None
        self.known_at: dict[str, KnownAt] = {}
        self.personal: list[str] = []
        self._checks: list[Taken] = []
        self._left_out: list[LeftOut] = []
        self._grouped: dict[tuple[str, str], dict[str, None]] = {}
        self.name = self._usable(name)

    def take(self, what: str, read: Callable[[], Iterable[Taken]]) -> None:
        """Keep the checks that a rule is read as, or tell why it is none; a check that is kept already stays one."""
        if len(self._checks) >= _MOST_KEPT:
            self.leave(what, f"{_MOST_KEPT:,} checks of the table are read already")
            return
        try:
            found = list(read())
        except InvalidInput as error:
            why = f"{error.message} ({error.rule})" if error.rule else error.message
            self.leave(what, why)
            return
        except OverflowError:
            self.leave(what, "it has a number that no column holds")
            return
        for one in found:
            kept = next((kept for kept in self._checks if kept.check == one.check), None)
            if kept is not None and one.note not in ("", kept.note):
                self.leave(what, f"{one.note}; else it says what is checked already")
            elif kept is None:
                self._checks.append(one)

    def has(self, fits: Callable[[CheckSpec], bool]) -> bool:
        """Say whether a check is kept of which this is true."""
        return any(fits(one.check) for one in self._checks)

    def leave(self, what: str, why: str) -> None:
        """Tell of one part that is left out."""
        self._left_out.append(LeftOut(shorten(what, 200), shorten(why, 400)))

    def leave_all(self, names: Iterable[object], of: str, why: str) -> None:
        """Tell of parts that are left out for one reason, in a sentence for all that come."""
        self._grouped.setdefault((of, why), {}).update((shorten(str(name), 80), None) for name in names)

    def finish(self) -> Translation:
        """Return what was gathered."""
        if len(self._checks) > MOST_RULES:
            self.leave(f"{len(self._checks)} checks", f"a dataset has at most {MOST_RULES}: leave some out")
        grouped = [LeftOut(f"{_listed(names)}{of}", why) for (of, why), names in self._grouped.items() if names]
        left_out = [*self._left_out, *grouped]
        return Translation(self.name, self.key, self.time, self.known_at, self.personal, self._checks, left_out)

    def _usable(self, name: object) -> str:
        if isinstance(name, str) and NAME.match(name) and ".." not in name:
            return name
        letters = [letter if NAME.match(letter) else "_" for letter in str(name or "")[:128]]
        usable = "".join(letters).strip("_") or _UNNAMED
        if name:
            rule = "names have letters, digits, _ . -"
            self.leave(f"the name {shorten(repr(name), 100)}", f"{rule}: it became {usable}")
        return usable


def _listed(names: Iterable[str]) -> str:
    told = list(names)
    more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return ", ".join(told[:_MOST_TOLD]) + more
