"""What of a dataset's rules a new declaration would loosen: checks that block, and what is personal. Pure functions."""

from collections.abc import Callable
from typing import Any

from loopwright.data.types import CheckSpec, DatasetSpec
from loopwright.governance import Weaker
from loopwright.kernel.errors import shorten

Args = dict[str, Any]
_SHOWN = 200
"""Letters of a check in words."""


def loosened(before: DatasetSpec, after: DatasetSpec) -> list[Weaker]:
    """Return what falls away or gets weaker; a check that only warns holds nothing back, so it is no such rule."""
    found = []
    alike: dict[tuple[str, str | None], list[CheckSpec]] = {}
    for check in after.checks:
        alike.setdefault((check.kind, check.column), []).append(check)
    for check in before.checks:
        others = alike.get((check.kind, check.column), [])
        if check.severity == "block" and not any(is_as_strict(other, check) for other in others):
            is_now = _describe_after(others[0], check) if others else "nothing"
            found.append(Weaker("checks", f"checks: {shorten(describe_check(check), _SHOWN)} -> {is_now}"))
    if gone := sorted({*before.personal} - {*after.personal}):
        found.append(Weaker("personal", f"personal: {', '.join(gone)} is no longer"))
    return found


def is_as_strict(check: CheckSpec, before: CheckSpec) -> bool:
    """Say whether rows that pass a check would have passed the one before, and whether it holds them back as well.

    >>> before = CheckSpec("between", "temp", {"low": -60, "high": 60})
    >>> is_as_strict(CheckSpec("between", "temp", {"low": 0, "high": 60}), before)
    True
    >>> is_as_strict(CheckSpec("between", "temp", {"low": -60}), before)
    False
    """
    if (check.kind, check.column, check.where) != (before.kind, before.column, before.where):
        return False
    if before.severity == "block" and check.severity != "block":
        return False
    if not check.most_share <= before.most_share:
        return False
    is_narrower = _NARROWER.get(before.kind)
    return check.args == before.args or (is_narrower is not None and is_narrower(check.args, before.args))


def _describe_after(check: CheckSpec, before: CheckSpec) -> str:
    """Return a check in words; before words that are cut off, the values that it lets pass and no check did."""
    words = shorten(describe_check(check), _SHOWN)
    more = [value for _, value in sorted(_values(check.args) - _values(before.args), key=str)]
    return f"lets pass {shorten(more, _SHOWN)}: {words}" if more and len(words) == _SHOWN else words


def describe_check(check: CheckSpec) -> str:
    """Return a check in words, such as ``between(temp, high=60, low=-60) for all but 5%``."""
    words = [*([] if check.column is None else [check.column])]
    words += [f"{name}={value}" for name, value in sorted(check.args.items())]
    share = f" for all but {check.most_share:.3g} of the rows" if check.most_share else ""
    where = f" where {check.where}" if check.where else ""
    return f"{check.kind}({', '.join(words)}){where}{share}{', warns only' if check.severity == 'warn' else ''}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lies_within(args: Args, before: Args) -> bool:
    """Say whether bounds lie inside those before; texts are moments in many spellings, and only the same are known."""

    def is_inside(name: str, sign: int) -> bool:
        bound: Any = args.get(name)
        bound_before: Any = before.get(name)
        if bound_before is None or bound == bound_before:
            return True
        return all(map(_is_number, (bound, bound_before))) and bool(sign * bound >= sign * bound_before)

    return is_inside("low", 1) and is_inside("high", -1)


def _names_fewer(args: Args, before: Args) -> bool:
    """Say whether values are among those before, told apart as ``1`` and ``True`` are."""
    return _values(args) <= _values(before)


def _values(args: Args) -> set[tuple[bool, Any]]:
    return {(isinstance(value, bool), value) for value in args.get("values", [])}


def _is_fresher(args: Args, before: Args) -> bool:
    return bool(args["within_us"] <= before["within_us"])


_NARROWER: dict[str, Callable[[Args, Args], bool]] = {
    "between": _lies_within,
    "row_count": _lies_within,
    "length": _lies_within,
    "is_in": _names_fewer,
    "fresh": _is_fresher,
}
"""By kind of check: whether its arguments let pass no more than others do. Of every other kind only the same are."""
