"""Check: texts match a regular expression."""

import re
from re import _parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl


MOST_LETTERS, MOST_GROUPS = 500, 50


class Matches(RowCheck, frozen=True):
    """Every text matches ``pattern`` from beginning to end."""

    pattern: str

    def validate(self) -> None:
        """Refuse what is no regular expression. Look-around and back-references fail later: their cost has no bound."""
        if len(self.pattern) > MOST_LETTERS:
            raise ValueError(f"a regular expression of at most {MOST_LETTERS} letters")
        if self.pattern.count("(") > MOST_GROUPS:
            raise ValueError(f"a regular expression of at most {MOST_GROUPS} groups")
        try:
            # Only read: compiled it would take a second where letters of either case stand in large ranges, and it is
            # another engine that runs it.
            _parser.parse(self.pattern)
        except re.error as error:
            raise ValueError(f"a regular expression; {error}") from None
        except (RecursionError, OverflowError):
            raise ValueError("a regular expression that nests and repeats less") from None

    def failing(self, column: "pl.Expr", dtype: "pl.DataType") -> "pl.Expr":
        """Return True where the text does not match."""
        return ~column.str.contains(f"^(?:{self.pattern})$")

    def claim(self) -> str:
        """Return what should hold."""
        return f"matching {self.pattern}"
