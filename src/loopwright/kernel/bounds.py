"""How many entries a declaration may list: it is compared with the one before while every other change waits."""

from collections import Counter
from collections.abc import Collection, Iterable, Sized
from itertools import islice

from loopwright.kernel.errors import InvalidInput, shorten

MOST_RULES = 200
"""Of checks, steps, views and whatever else has rules of its own: nobody keeps more in mind."""
MOST_COLUMNS = 10_000
"""Of names of columns: a dataset has no more."""


def check_count(entries: Sized, field: str, most: int = MOST_RULES) -> None:
    """Refuse a list or mapping that is longer than anybody needs.

    Raises:
        InvalidInput: It is.
    """
    if len(entries) > most:
        raise InvalidInput("these are too many", field=field, value=len(entries), rule=f"at most {most}")


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that comes twice.

    >>> first_repeated(["a", "b", "c", "b"])
    'b'
    """
    return next((name for name, times in Counter(names).items() if times > 1), None)


def first_few(sentences: Collection[str], most: int = 20, letters: int = 300) -> str:
    """Return the first of many sentences, each shortened, and how many more there are.

    >>> first_few(["a is gone", "b is gone", "c is gone"], most=2)
    'a is gone; b is gone; and 1 more'
    """
    told = [shorten(sentence, letters) for sentence in islice(sentences, most)]
    more = len(sentences) - len(told)
    return "; ".join([*told, *([f"and {more} more"] if more else [])])
