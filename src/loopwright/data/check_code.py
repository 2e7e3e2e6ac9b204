"""How a project file declares a check. Pure.

What is written is pasted into code, and what stands in it came from others: names and values stand there as Python
writes them, so that none can be anything but a name or a value.
"""

import inspect
import math
from collections.abc import Iterator
from typing import Any

from loopwright.data import declarations
from loopwright.data.checks import FALSE_ALARMS, LEAST
from loopwright.data.types import CheckSpec
from loopwright.kernel.clock import format_duration
from loopwright.kernel.errors import InvalidInput

_USUAL = {"least": LEAST, "false_alarms": FALSE_ALARMS, "strictly": False}
"""Arguments that say what holds without them."""
_OTHERWISE = ("within_us", "columns")
"""Arguments that are declared under another name."""


def check_code(check: CheckSpec) -> str:
    """Return the call that declares a check; arguments that are the usual ones are left out.

    Raises:
        InvalidInput: Project files have no word for this kind of check, as for those of other packages, or for an
            argument of it.

    >>> check_code(declarations.between("amount", 0, 5, severity="warn"))
    "lw.check.between('amount', low=0, high=5, severity='warn')"
    """
    if check.kind not in _KINDS:
        rule = f"one of {', '.join(sorted(_KINDS))}"
        raise InvalidInput("project files have no word for this check", field="kind", value=check.kind, rule=rule)
    parameters = inspect.signature(getattr(declarations, check.kind)).parameters
    if unknown := [name for name in check.args if name not in parameters and name not in _OTHERWISE]:
        raise InvalidInput(f"{check.kind} has no such argument", field="args", value=unknown[0])
    words = [literal(check.column)] if "column" in parameters else []
    return f"lw.check.{check.kind}({', '.join([*words, *_words(check)])})"


def literal(value: Any) -> str:
    r"""Return a value as an expression of Python, which holds of every number too.

    >>> literal(["it's", float("inf"), {"a": None}])
    '["it\'s", float(\'inf\'), {\'a\': None}]'
    """
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(name)}: {literal(inner)}' for name, inner in value.items())}}}"
    return repr(value)


def _words(check: CheckSpec) -> Iterator[str]:
    for name, value in check.args.items():
        if value is None or _USUAL.get(name, ...) == value:
            continue
        if check.kind == "unique":
            yield from map(literal, value)
        elif check.kind == "increasing" and name == "columns":
            yield from [f"of_each={literal(value)}"] if value else []
        elif check.kind == "fresh":
            yield literal(format_duration(value))
        elif check.kind == "holds":
            yield literal(value)
        else:
            yield f"{name}={literal(value)}"
    yield from [f"most_share={check.most_share}"] if check.most_share else []
    yield from [f"severity={check.severity!r}"] if check.severity != "block" else []
    yield from [f"where={literal(check.where)}"] if check.where else []


_KINDS = frozenset([
    "not_null", "between", "is_in", "unique", "matches", "length", "dated", "increasing", "holds", "refers_to",
    "statistic", "usual", "usual_rows", "row_count", "fresh",
])  # fmt: skip
