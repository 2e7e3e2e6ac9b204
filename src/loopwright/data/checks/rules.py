"""Rules about rows as text: the part of SQL that costs no more than a look at the columns it names."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MOST_LETTERS = 500
_MOST_DEPTH = 20
_MOST_SUMS = 30
"""Of ``+`` in a rule: of texts it makes longer ones, each as long as both."""
_FUNCTIONS = frozenset(
    ["abs", "ceil", "coalesce", "floor", "greatest", "least", "length", "lower", "round", "sign", "upper"]
)
_WORDS = frozenset(
    ["and", "or", "not", "in", "is", "null", "between", "like", "case", "when", "then", "else", "end", "true", "false"]
)
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*')|(?P<quoted>"[^"]+")|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"""
    r"""|(?P<word>[^\W\d]\w*)|(?P<sign><=|>=|<>|!=|[-+*/%(),=<>])|(?P<gap>\s+)"""
)
HELP = (
    "a condition on columns in SQL, such as landed_at >= scheduled_at or (country IN ('de', 'at') AND total > 0); "
    f"of functions {', '.join(sorted(_FUNCTIONS))}"
)


@lru_cache(maxsize=1024)
def read_rule(rule: str) -> list[str]:
    """Return the columns that a rule names, in order.

    Raises:
        ValueError: It is none: says which part.
    """
    if not rule.strip() or len(rule) > MOST_LETTERS:
        raise ValueError(f"1 to {MOST_LETTERS} letters: {HELP}")
    tokens = [(str(token.lastgroup), token[0]) for token in _tokens(rule) if token.lastgroup != "gap"]
    _check_brackets([text for _, text in tokens])
    columns = []
    for (kind, text), following in zip(tokens, [*(text for _, text in tokens[1:]), ""], strict=True):
        is_word = kind == "word" and text.lower() not in _WORDS and not _is_date(text, following)
        if following == "(" and (kind == "quoted" or (is_word and text.lower() not in _FUNCTIONS)):
            raise ValueError(f"no function {text}: {HELP}")
        if kind == "quoted":
            columns.append(text[1:-1])
        elif is_word and following != "(":
            columns.append(text)
    if not columns:
        raise ValueError(f"a column at least: {HELP}")
    if sum(text == "+" for _, text in tokens) > _MOST_SUMS:
        raise ValueError(f"at most {_MOST_SUMS} times +")
    return list(dict.fromkeys(columns))


def _check_brackets(texts: Iterable[str]) -> None:
    depth = 0
    for text in texts:
        depth += (text == "(") - (text == ")")
        if not 0 <= depth <= _MOST_DEPTH:
            raise ValueError(f"brackets that close, at most {_MOST_DEPTH} deep")
    if depth:
        raise ValueError("brackets that close")


def rule_expr(rule: str) -> "pl.Expr":
    """Return a rule as an expression.

    Raises:
        ValueError: It is none.
    """
    import polars as pl

    read_rule(rule)
    try:
        return pl.sql_expr(rule)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(f"{HELP}; {str(error).splitlines()[0][:200]}") from None


def lift_columns(rule: str, columns: Collection[str]) -> str:
    """Return a rule that names ``lifted(column)`` in the place of each of these columns."""
    tokens = _tokens(rule)
    names = [token[0][1:-1] if token.lastgroup == "quoted" else token[0] for token in tokens]
    return "".join(
        f'"{lifted(name)}"' if name in columns and token.lastgroup in ("quoted", "word") else token[0]
        for token, name in zip(tokens, names, strict=True)
    )


def lifted(column: str) -> str:
    """Return the name of a column in which NaN is missing: SQL knows no NaN, and Polars holds it for the largest."""
    return f"__rule.{column}"


def _tokens(rule: str) -> list["re.Match[str]"]:
    found, place = [], 0
    while place < len(rule):
        token = _TOKEN.match(rule, place)
        if token is None:
            raise ValueError(f"nothing that begins with {rule[place]!r}: {HELP}")
        found.append(token)
        place = token.end()
    return found


def _is_date(word: str, following: str) -> bool:
    return word.lower() == "date" and following.startswith("'")
