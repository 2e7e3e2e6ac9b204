"""Where a text file is not what it is said to be: by name, line and column, as whoever mends it needs them."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import polars as pl

from loopwright.data.sources.plain import PlainText, open_bytes
from loopwright.data.types import Dialect
from loopwright.kernel.errors import InvalidInput

_MOST_SHOWN = 60
csv.field_size_limit(2**31 - 1)
_ROW = "\0row"


class Misfit(NamedTuple):
    """A text that does not fit: whose, in which column, what is wrong with it, and whether it is not to be told."""

    file: PlainText
    column: str
    what: str
    is_hidden: bool


def refuse_first(frame: pl.LazyFrame, is_misfit: pl.Expr, misfit: Misfit, dialect: Dialect) -> None:
    """Refuse a file by its first row that does not fit, if there is one.

    Args:
        frame: Its texts.
        is_misfit: Boolean (rows,).
        misfit: What to say.
        dialect: How the file is written.
    """
    name = misfit.column
    found = frame.select(pl.col(name)).with_row_index(_ROW).filter(is_misfit).head(1).collect()
    if not found.height:
        return
    row = int(found[_ROW][0])
    line = line_of(misfit.file, row, dialect)
    where = f"line {line}" if line else f"row {row + 1}"
    text = str(found[name][0])
    shown = repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")
    shown = "a value that is personal" if misfit.is_hidden else shown
    raise InvalidInput(
        f"{misfit.file.name}, {where}, column {name}: {shown} {misfit.what}",
        field=name,
        value=shown,
        rule="every value of a column is of its type",
        next_step="correct the file, or say what it is: source.csv(..., types={…}, missing=[…])",
        details={"file": misfit.file.name, "line": line},
    )


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
        if fields and len(fields) < width:
            raise _wrong_length(file, line, len(fields), width)


def explain(file: PlainText, dialect: Dialect) -> None:
    """Refuse a file that the reader could not read, by the first line that is not as it should be, if one is found."""
    check_text(file.path, file.name)
    width = len(dialect.columns)
    for line, fields in _records(file, dialect, is_strict=True):
        width = width or len(fields)
        if len(fields) > width:
            raise _wrong_length(file, line, len(fields), width)
        if dialect.quote and any(dialect.quote in field for field in fields) and _is_bare(file, line, dialect):
            raise _badly_quoted(file, line, dialect.quote)


def _is_bare(file: PlainText, line: int, dialect: Dialect) -> bool:
    """Say whether a line opens a quote in the middle of a value, or one that it does not close."""
    with _lines(file) as lines:
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


def check_text(path: Path, name: str) -> None:
    """Refuse a file that is no UTF-8, naming the first line that is not: readers say so of all files together.

    Raises:
        InvalidInput: It is none.
    """
    with suppress(OSError), open_bytes(path, path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                raise InvalidInput(
                    f"{name} is no UTF-8: line {number}",
                    field="source",
                    value=str(path),
                    rule="UTF-8, with or without a byte order mark, where no encoding is declared",
                    next_step='say which it is, such as source.csv(..., encoding="cp1252")',
                ) from None


def twice_named(file: PlainText, column: str) -> InvalidInput:
    """Return the error for a header that names two columns alike."""
    return InvalidInput(
        f"{file.name} has two columns {column}",
        field="source",
        value=column,
        rule="a header names each column once",
        next_step="name them apart in the file, or in columns=[…] with skip=1",
    )


def _wrong_length(file: PlainText, line: int, found: int, width: int) -> InvalidInput:
    many = "fields" if found != 1 else "field"
    return InvalidInput(
        f"{file.name}, line {line}: {found} {many} where the header has {width}",
        field="source",
        value=file.name,
        rule="every line has the fields that the header names",
        next_step='correct the file; short_lines="fill" lets values be missing at the end of a line'
        if found < width
        else "correct the file: is a separator inside a value not quoted?",
        details={"file": file.name, "line": line},
    )


def line_of(file: PlainText, row: int, dialect: Dialect) -> int:
    """Return the number of the line on which a row begins, both counted from the file's begin, lines from 1."""
    records = _records(file, dialect)
    return next((line for number, (line, _) in enumerate(records) if number == row), 0)


def _records(file: PlainText, dialect: Dialect, *, is_strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield line and fields of each row that is not blank; none of a file that only its reader can unpack.

    ``is_strict`` yields the header too, and refuses a quote that is not closed.
    """
    with _lines(file) as lines:
        reader = csv.reader(
            _without_comments(lines, dialect),
            delimiter=file.separator,
            quotechar=dialect.quote or None,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            strict=is_strict,
        )
        has_header, before = not (dialect.columns or is_strict), 0
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error:
                raise _badly_quoted(file, before + 1, dialect.quote) from None
            line, before = before + 1, reader.line_num
            if line <= dialect.skip:
                continue
            if has_header:
                has_header = False
                continue
            if fields:
                yield line, fields


def _without_comments(lines: Iterator[str], dialect: Dialect) -> Iterator[str]:
    for line in lines:
        is_comment = dialect.comment and line.startswith(dialect.comment)
        yield "\n" if is_comment else line


@contextmanager
def _lines(file: PlainText) -> Iterator[Iterator[str]]:
    try:
        opened = open_bytes(file.path, file.path)
    except InvalidInput:
        yield iter(())
        return
    with opened:
        yield io.TextIOWrapper(opened, encoding="utf-8-sig", errors="replace", newline="")
