"""The filter language: ``metrics.roc_auc > 0.7 and (tags.team = "x" or not state in ("failed", "killed"))``.

Parsing is pure; each room compiles the tree to its own tables. A name that a thing lacks matches no comparison,
not even ``!=``.
"""

import re
from collections.abc import Mapping, Set
from typing import Literal

import msgspec

from loopwright.kernel.errors import InvalidInput

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "like"]
Scalar = str | float | bool

MOST_LETTERS = 4000
MOST_LETTERS_OF_ORDER = 300
MOST_DEPTH = 40
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])"
    r"|(?P<text>\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*')"
    r"|(?P<name>[A-Za-z_][\w/\-]*(?:\.(?:`[^`]+`|[\w.\-/]+))?)"
    r"|(?P<sign><=|>=|!=|=|<|>|\(|\)|,))"
)
_WORDS = {"and", "or", "not", "in", "like", "true", "false"}


class Field(msgspec.Struct, frozen=True):
    """What is compared: ``metrics.roc_auc`` has a group, a column of the thing itself, such as ``state``, has none."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}.{self.name}" if self.group else self.name


class Comparison(msgspec.Struct, frozen=True):
    """One field against a value, for ``in`` a list of them. In ``like``, ``%`` is any text and ``_`` one letter."""

    field: Field
    operator: Operator
    value: Scalar | list[Scalar]


class Negation(msgspec.Struct, frozen=True):
    """Everything the inner filter does not match."""

    inner: "Filter"


class Conjunction(msgspec.Struct, frozen=True):
    """All parts match."""

    parts: "list[Filter]"


class Disjunction(msgspec.Struct, frozen=True):
    """At least one part matches."""

    parts: "list[Filter]"


Filter = Comparison | Negation | Conjunction | Disjunction


class Vocabulary(msgspec.Struct, frozen=True):
    """The names a filter may use: groups with free keys, such as ``metrics``, and the thing's own columns.

    Each has a kind: ``number``, ``text`` or ``any``.
    """

    groups: Mapping[str, str]
    columns: Mapping[str, str]

    def resolve(self, text: str) -> Field:
        """Return the field a name means.

        Raises:
            InvalidInput: It is no known group or column.
        """
        group, dot, name = text.partition(".")
        if dot and group in self.groups:
            return Field(group, name[1:-1] if name.startswith("`") else name)
        if text in self.columns:
            return Field("", text)
        known = [*(f"{group}.<name>" for group in self.groups), *self.columns]
        raise InvalidInput("this name is unknown", value=text, rule=f"one of {', '.join(known)}")

    def kind(self, field: Field) -> str:
        """Return ``number``, ``text`` or ``any``."""
        return self.groups[field.group] if field.group else self.columns[field.name]


def parse_filter(text: str, vocabulary: Vocabulary, field: str = "filter") -> Filter | None:
    """Read a filter; an empty one is None and matches everything.

    Raises:
        InvalidInput: It cannot be read; the message names the position, counted from 1.

    >>> words = Vocabulary({"metrics": "number"}, {"state": "text"})
    >>> str(parse_filter("metrics.roc_auc >= 0.7", words).field)
    'metrics.roc_auc'
    """
    if not text.strip():
        return None
    if len(text) > MOST_LETTERS:
        raise InvalidInput("this filter is too long", field=field, value=text, rule=f"at most {MOST_LETTERS} letters")
    parser = _Parser(text, vocabulary, field)
    tree = parser.disjunction(0)
    parser.expect_end()
    return tree


def parse_order(text: str, vocabulary: Vocabulary, field: str = "order_by") -> tuple[Field, bool]:
    """Read ``metrics.roc_auc desc``; return the field and whether the largest comes first.

    Raises:
        InvalidInput: It cannot be read.
    """
    try:
        if len(text) > MOST_LETTERS_OF_ORDER:
            raise InvalidInput("this is too long", rule=f"at most {MOST_LETTERS_OF_ORDER} letters")
        words = text.strip().rsplit(None, 1)
        if not words:
            raise InvalidInput("this is empty")
        way = words.pop().lower() if len(words) == 2 and words[1].lower() in ("asc", "desc") else "asc"
        return vocabulary.resolve(" ".join(words) if len(words) == 1 else text.strip()), way == "desc"
    except InvalidInput as error:
        raise InvalidInput(
            f"this order cannot be read: {error.message}",
            field=field,
            value=text,
            rule=error.rule or "a name, then asc or desc",
        ) from None


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str, vocabulary: Vocabulary, field: str) -> None:
        self.text, self.vocabulary, self.field = text, vocabulary, field
        self.tokens = self._tokens()
        self.place = 0

    def _tokens(self) -> list[tuple[str, str, int]]:
        found, at, end = [], 0, len(self.text.rstrip())
        while at < end:
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self._error("this cannot be read", at + len(self.text[at:]) - len(self.text[at:].lstrip()))
            kind = str(match.lastgroup)
            word = match[kind]
            is_word = kind == "name" and word.lower() in _WORDS
            found.append(("word" if is_word else kind, word.lower() if is_word else word, match.start(kind)))
            at = match.end()
        return [*found, ("end", "", end)]

    def _error(self, message: str, at: int, rule: str | None = None) -> InvalidInput:
        return InvalidInput(
            f"at position {at + 1}: {message}",
            field=self.field,
            value=self.text[at : at + 40] or "the end",
            rule=rule or "comparisons such as metrics.roc_auc > 0.7, joined by and, or, not and parentheses",
            details={"position": at + 1},
        )

    def _take(self, kind: str, accepted: Set[str] = frozenset()) -> str | None:
        found, word, _ = self.tokens[self.place]
        if found != kind or (accepted and word not in accepted):
            return None
        self.place += 1
        return word

    @property
    def _at(self) -> int:
        return self.tokens[self.place][2]

    def expect_end(self) -> None:
        """Refuse anything that is left over."""
        if self.tokens[self.place][0] != "end":
            raise self._error("expected and, or, or the end", self._at)

    def disjunction(self, depth: int) -> Filter:
        """Read parts joined by ``or``."""
        parts = [self._conjunction(depth)]
        while self._take("word", {"or"}):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Disjunction(parts)

    def _conjunction(self, depth: int) -> Filter:
        parts = [self._unary(depth)]
        while self._take("word", {"and"}):
            parts.append(self._unary(depth))
        return parts[0] if len(parts) == 1 else Conjunction(parts)

    def _unary(self, depth: int) -> Filter:
        if depth > MOST_DEPTH:
            raise self._error("this is nested too deep", self._at, f"at most {MOST_DEPTH} levels")
        if self._take("word", {"not"}):
            return Negation(self._unary(depth + 1))
        if self._take("sign", {"("}):
            inner = self.disjunction(depth + 1)
            if not self._take("sign", {")"}):
                raise self._error("expected )", self._at)
            return inner
        return self._comparison()

    def _comparison(self) -> Filter:
        at = self._at
        name = self._take("name")
        if name is None:
            raise self._error("expected a name", at)
        try:
            left = self.vocabulary.resolve(name)
        except InvalidInput as error:
            raise self._error(error.message, at, error.rule) from None
        is_negated = bool(self._take("word", {"not"}))
        at = self._at
        sign = self._take("word", {"in", "like"}) or (
            None if is_negated else self._take("sign", {"=", "!=", "<", "<=", ">", ">="})
        )
        if sign is None:
            raise self._error("expected a comparison", at, "= != < <= > >= in like")
        operator = msgspec.convert(sign, type=Operator)
        comparison = Comparison(left, operator, self._values(left) if operator == "in" else self._value(left, operator))
        return Negation(comparison) if is_negated else comparison

    def _values(self, left: Field) -> list[Scalar]:
        if not self._take("sign", {"("}):
            raise self._error("expected ( after in", self._at)
        values = [self._value(left, "in")]
        while self._take("sign", {","}):
            values.append(self._value(left, "in"))
        if not self._take("sign", {")"}):
            raise self._error("expected , or )", self._at)
        return values

    def _value(self, left: Field, operator: Operator) -> Scalar:
        at, kind = self._at, self.vocabulary.kind(left)
        if (number := self._take("number")) is not None:
            value: Scalar = float(number)
        elif (text := self._take("text")) is not None:
            value = text[1:-1].replace(text[0] * 2, text[0])
        elif (word := self._take("word", {"true", "false"})) is not None:
            value = word == "true"
        else:
            raise self._error("expected a value", at, "a number, a quoted text, true or false")
        if kind == "number" and not (type(value) is float and operator != "like"):
            raise self._error(f"{left} is a number", at, "compare it with a number")
        if (kind == "text" or operator == "like") and not isinstance(value, str):
            raise self._error(f"{left} needs a quoted text here", at, 'for example "x"')
        return value
