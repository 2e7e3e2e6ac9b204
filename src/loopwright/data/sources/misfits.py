"""Where a text file is not what it is said to be: by name, line and column, as whoever mends it needs them."""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import polars as pl

from loopwright.data.sources.base import check_width
from loopwright.data.sources.plain import PlainText, check_text
from loopwright.data.types import Dialect
from loopwright.kernel.errors import InvalidInput

UNNAMED = "column_"
"""How a column is called that the header does not name, before its number."""
_MOST_SHOWN = 60
_ROW, _LINE = "\0row", "\0line"
csv.field_size_limit(2**31 - 1)


class Misfit(NamedTuple):
    """A text that does not fit: whose, in which column, what is wrong with it, and whether it is not to be told."""

    file: PlainText
    column: str
    what: str
    is_hidden: bool


def refuse_first(frame: pl.LazyFrame, is_misfit: pl.Expr, misfit: Misfit, dialect: Dialect) -> None:
    """Refuse a file by its first row that does not fit, if there is one.

    Args:
        frame: Its texts, without lines that are blank.
        is_misfit: Boolean (rows,).
        misfit: What to say.
        dialect: How the file is written.
    """
    name = misfit.column
    found = frame.select(pl.col(name)).with_row_index(_ROW).filter(is_misfit).head(1).collect()
    if not found.height:
        return
    line = line_of(misfit.file, int(found[_ROW][0]), dialect)
    text = str(found[name][0])
    shown = repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")
    shown = "a value that is personal" if misfit.is_hidden else shown
    raise InvalidInput(
        f"{misfit.file.name}, line {line}, column {name}: {shown} {misfit.what}",
        field=name,
        value=shown,
        rule="every value of a column is of its type",
        next_step="correct the file, or say what it is: source.csv(..., types={…}, missing=[…])",
        details={"file": misfit.file.name, "line": line},
    )


def look_at_lines(file: PlainText, dialect: Dialect) -> bool:
    """Say whether a file has lines without any value; refuse it if a quote stands inside a value.

    Readers leave such a quote out, if it comes twice. To ask each row whether all its columns are missing would cost
    a second of planning for every query of some hundred columns, and hardly any file has such lines.

    Raises:
        InvalidInput: Names the line.
    """
    quote, separator = re.escape(dialect.quote), re.escape(file.separator)
    lines = pl.scan_csv(
        file.path,
        separator="\x01",
        quote_char=None,
        has_header=False,
        new_columns=[_LINE],
        infer_schema=False,
        glob=False,
    ).with_row_index(_ROW)
    is_blank = pl.col(_LINE).is_null() | pl.col(_LINE).str.contains(rf"^{separator}*\r?$")
    asked = [is_blank.any()]
    if dialect.quote:
        # Neither one that opens a value nor one that closes it, and not one of a pair that means itself.
        stray = rf"[^{separator}{quote}\r\n]{quote}(?:{quote}{quote})*[^{separator}{quote}\r\n]"
        asked.append(pl.col(_ROW).filter(pl.col(_LINE).str.contains(stray)).first().alias("stray"))
    has_blank, *found = lines.select(asked).collect().row(0)
    if found and found[0] is not None:
        raise _badly_quoted(file, int(found[0]) + 1, dialect.quote)
    return bool(has_blank)


def refuse_length(file: PlainText, frame: pl.LazyFrame, last: str, dialect: Dialect) -> None:
    """Refuse a line with too few fields, unless the dialect fills it; one with too many the reader refuses itself.

    A line with too few fields has no value in the last column, so most files are not looked at at all.
    """
    if dialect.short_lines == "fill":
        return
    if not frame.select(pl.col(last).is_null().any()).collect().item():
        return
    width = len(frame.collect_schema())
    for line, fields in _records(file, dialect):
        if len(fields) < width:
            raise _wrong_length(file, line, len(fields), width)


def header_of(file: PlainText, dialect: Dialect) -> list[str]:
    """Return the names that a file's header gives its columns, ``column_3`` to one without a name; else those declared.

    Raises:
        InvalidInput: There is no header, a quote is not closed, or two columns have one name; which, is not told: the
            first line of a file may be anything.
        TooLarge: There are more columns than ``base.MOST_COLUMNS``.
    """
    if dialect.columns:
        check_width(len(dialect.columns))
        return list(dialect.columns)
    line, names = next(_records(file, dialect, is_strict=True), (0, []))
    if dialect.quote and any(dialect.quote in name for name in names) and _is_bare(file, line, dialect):
        raise _badly_quoted(file, line, dialect.quote)
    if not names:
        raise InvalidInput(
            f"{file.name} has no line that names columns",
            field="source",
            value=file.name,
            rule="a header, behind what skip= and comment= leave out",
            next_step="correct the file, or say columns=[…] where it has no header",
        )
    check_width(len(names))
    names = [name or f"{UNNAMED}{at}" for at, name in enumerate(names, 1)]
    twice = _named_alike(names)
    if twice:
        raise InvalidInput(
            f"{file.name} names {' and '.join(map(str, twice))} alike",
            field="source",
            value=file.name,
            rule="a header names each column once",
            next_step="name them apart in the file, or in columns=[…] with skip=1",
        )
    return names


def _named_alike(names: Sequence[str]) -> list[str]:
    """Return the first two columns of one name, by their numbers."""
    first: dict[str, int] = {}
    for at, name in enumerate(names, 1):
        if (before := first.setdefault(name, at)) != at:
            return [f"column {before}", f"column {at}"]
    return []


def explain(file: PlainText, dialect: Dialect) -> None:
    """Refuse a file that the reader could not read, by the first line that is not as it should be, if one is found."""
    check_text(file)
    width = len(dialect.columns)
    for line, fields in _records(file, dialect, is_strict=True):
        width = width or len(fields)
        if len(fields) > width or (dialect.columns and len(fields) < width and dialect.short_lines == "refuse"):
            raise _wrong_length(file, line, len(fields), width)
        if dialect.quote and any(dialect.quote in field for field in fields) and _is_bare(file, line, dialect):
            raise _badly_quoted(file, line, dialect.quote)


def _is_bare(file: PlainText, line: int, dialect: Dialect) -> bool:
    """Say whether a line opens a quote in the middle of a value, or one that it does not close."""
    with file.path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        text = next((text for number, text in enumerate(lines, 1) if number == line), "")
    fields = text.rstrip("\r\n").split(file.separator)
    return any(dialect.quote in field and not field.startswith(dialect.quote) for field in fields) or (
        text.count(dialect.quote) % 2 == 1
    )


def _badly_quoted(file: PlainText, line: int, quote: str) -> InvalidInput:
    return InvalidInput(
        f"{file.name}, line {line}: a {quote} in a value that is not quoted, or one that is not closed",
        field="source",
        value=file.name,
        rule=f"a value with {quote} in it is quoted, and {quote} is doubled there",
        next_step='correct the file; quote="" where the sign means nothing',
        details={"file": file.name, "line": line},
    )


def _wrong_length(file: PlainText, line: int, found: int, width: int) -> InvalidInput:
    many = "fields" if found != 1 else "field"
    return InvalidInput(
        f"{file.name}, line {line}: {found} {many} where there are {width} columns",
        field="source",
        value=file.name,
        rule="every line has a field for each column",
        next_step='correct the file; short_lines="fill" lets values be missing at the end of a line'
        if found < width
        else "correct the file: is a separator inside a value not quoted?",
        details={"file": file.name, "line": line},
    )


def line_of(file: PlainText, row: int, dialect: Dialect) -> int:
    """Return the number of the line on which a row begins, from 1; rows are those with a value, from 0."""
    records = (line for line, fields in _records(file, dialect) if any(fields))
    return next((line for number, line in enumerate(records) if number == row), 0)


def _records(file: PlainText, dialect: Dialect, *, is_strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield line and fields of each row that is not blank.

    ``is_strict`` yields the header too, and refuses a quote that is not closed.
    """
    with file.path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        deque(islice(lines, dialect.skip), maxlen=0)
        reader = csv.reader(
            _without_comments(lines, dialect),
            delimiter=file.separator,
            quotechar=dialect.quote or None,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            strict=is_strict,
        )
        has_header, line = not (dialect.columns or is_strict), dialect.skip
        while True:
            begun = line + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error:
                raise _badly_quoted(file, begun, dialect.quote) from None
            line = dialect.skip + reader.line_num
            if not fields:
                continue
            if has_header:
                has_header = False
                continue
            yield begun, fields


def _without_comments(lines: Iterator[str], dialect: Dialect) -> Iterator[str]:
    for line in lines:
        is_comment = dialect.comment and line.startswith(dialect.comment)
        yield "\n" if is_comment else line
