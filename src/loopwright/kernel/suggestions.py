"""What to say of a name that is not known: which one was probably meant."""

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 10
_MOST_LETTERS = 200
"""A longer name is no misspelt one; comparing it costs the square of its length."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a misspelt one; None where none is alike.

    >>> nearest("wether", ["flights", "weather"])
    'weather'
    """
    if len(name) > _MOST_LETTERS:
        return None
    alike = difflib.get_close_matches(name, list(known), n=1)
    return alike[0] if alike else None


def suggest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return the next step after a name that is not known.

    Args:
        name: What was asked for.
        known: The names there are.
        otherwise: What to do where none of them is alike; else the first ten are listed.

    >>> suggest("wether", ["flights", "weather"]), suggest("x", ["flights", "weather"])
    ('did you mean weather?', 'known: flights, weather')
    """
    names = sorted(known)
    if near := nearest(name, names):
        return f"did you mean {near}?"
    if otherwise is not None:
        return otherwise
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return f"known: {', '.join(names[:_MOST_SHOWN]) or 'none'}{more}"


def near_column(name: str, columns: Iterable[str]) -> str:
    """Suggest the column that is most like a declared one; no others: the first line of a file may be anything."""
    near = nearest(name, columns)
    return f"did you mean {near}? else " if near else ""
