"""What the docstrings of functions say of their arguments."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

_ENTRY = re.compile(r"(\*{0,2}\w+): (.*)")
_SECTION = re.compile(r"[A-Z]\w+:$")


def described_arguments(function: Callable[..., Any] | type) -> list[tuple[str, str]]:
    """Return each argument that a Google-style docstring explains, with what it says of it, on one line.

    >>> def add(a, b):
    ...     '''Add two numbers.
    ...
    ...     Args:
    ...         a: The one,
    ...             which may be negative.
    ...         b: The other.
    ...
    ...     Returns:
    ...         sum: Theirs.
    ...     '''
    >>> described_arguments(add)
    [('a', 'The one, which may be negative.'), ('b', 'The other.')]

    Raises:
        ValueError: It explains an argument that there is not.
    """
    found: list[tuple[str, str]] = []
    for line in _lines(inspect.getdoc(function) or ""):
        entry = _ENTRY.match(line[4:])
        if entry is not None:
            found.append((entry[1], entry[2]))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    known = inspect.signature(function).parameters
    if unknown := [name for name, _ in found if name.lstrip("*") not in known]:
        raise ValueError(f"{function.__qualname__} explains what it does not take: {', '.join(unknown)}")
    return found


def _lines(text: str) -> Iterator[str]:
    """Yield the lines below ``Args:``, up to the next section."""
    is_within = False
    for line in text.splitlines():
        if _SECTION.match(line):
            is_within = line == "Args:"
        elif is_within and line.strip():
            yield line
