"""CSV files: types are told by all values of all files, and what does not fit is named by file, line and column."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import polars as pl

from loopwright.data.dtypes import dtype_text, parse_dtype
from loopwright.data.sources import texts
from loopwright.data.sources.base import Asked, SourceFile, check_width, no_such_column
from loopwright.data.sources.misfits import (
    UNNAMED,
    Misfit,
    explain,
    header_of,
    look_at_lines,
    refuse_first,
    refuse_length,
)
from loopwright.data.sources.plain import PlainText, plain_texts
from loopwright.data.sources.texts import Reading
from loopwright.data.types import Dialect
from loopwright.kernel.errors import InvalidInput

_HEAD_ROWS = 200
_COLUMNS_AT_ONCE = 200
"""Of one query: what it takes to plan one grows faster than its expressions."""
_PACKED = ("", ".gz", ".zst", ".zip", ".bz2", ".xz")

Texts = pl.DataFrame
"""The texts of one column."""
Target = Reading | pl.DataType
"""How a column is read; ``String`` is its texts as they are, ``Null`` a column without any value."""


class CsvFiles:
    """Files of separated values."""

    endings = tuple(f".{kind}{packed}" for kind in ("csv", "tsv") for packed in _PACKED)

    def open(self, files: Sequence[SourceFile], asked: Asked) -> pl.LazyFrame:
        """Return the rows of files, one after the other.

        Raises:
            InvalidInput: A file is of another kind or written otherwise than declared; a line has too many or too few
                fields; a text is no value of the declared type, or of the one that the column had before.
            polars.exceptions.PolarsError: A file cannot be read for another reason.
        """
        plain = plain_texts(files, asked)
        try:
            return _open(plain, asked)
        except pl.exceptions.PolarsError:
            for file in plain:
                explain(file, asked.spec.dialect)
            raise


def _open(files: Sequence[PlainText], asked: Asked) -> pl.LazyFrame:
    table = _Table(files, asked)
    table.check_shape()
    declared = {name: parse_dtype(dtype) for name, dtype in asked.spec.types.items()}
    for name in declared:
        if name not in table.names:
            raise no_such_column(name, table.names)
    targets = table.tell_types({name for name, dtype in asked.known.items() if dtype == pl.String} | {*declared})
    for name, dtype in declared.items():
        targets[name] = table.require(name, dtype, "as its type was declared", is_strict=True)
    for name, dtype in asked.known.items():
        if name in targets and name not in declared and not _is_alike(targets[name], dtype):
            targets[name] = table.require(name, dtype, "as it was before", is_strict=False)
    return table.read(targets)


class _Table:
    """Files as one table.

    Args:
        files: Plain text in UTF-8.
        asked: How they are written.
    """

    def __init__(self, files: Sequence[PlainText], asked: Asked) -> None:
        self._files, self._dialect, self._hidden = files, asked.spec.dialect, asked.hidden
        self._zone = asked.spec.zone
        self._words = texts.missing_words(self._dialect)
        blank = [look_at_lines(file, self._dialect) for file in files]
        self._columns = [header_of(file, self._dialect) for file in files]
        parts = zip(files, self._columns, blank, strict=True)
        self._frames = [_scan(file, self._dialect, names, has_blank) for file, names, has_blank in parts]
        self.names = list(dict.fromkeys(name for names in self._columns for name in names))
        check_width(len(self.names))

    def check_shape(self) -> None:
        """Refuse files of which each has a column that another lacks, and lines with too few fields."""
        widest = max(range(len(self._files)), key=lambda at: len(self._columns[at]))
        known = set(self._columns[widest])
        for file, names in zip(self._files, self._columns, strict=True):
            alone = next((at for at, name in enumerate(names, 1) if name not in known), 0)
            if alone:  # what stands there is not told: the first line of a file may be anything
                raise InvalidInput(
                    f"{file.name} names column {alone} otherwise than {self._files[widest].name} names any",
                    field="source",
                    value=file.name,
                    rule="files agree in the names of their columns; later ones may have more",
                    next_step="name it alike in all files, or say columns=[…] where they have no header",
                )
        for file, frame, names in zip(self._files, self._frames, self._columns, strict=True):
            refuse_length(file, frame, names[-1], self._dialect)

    def tell_types(self, as_texts: set[str]) -> dict[str, Target]:
        """Return how each column is read, told by all values of all files; ``as_texts`` stay texts.

        The first rows leave one way to read a column, and hardly ever another has to be tried on all of them.
        """
        asked = [name for name in self.names if name not in as_texts]
        filled = self._all_of(asked, lambda name: texts.has_values(name, self._words), any)
        targets: dict[str, Target] = dict.fromkeys(self.names, pl.String())
        targets |= {name: pl.Null() for name in asked if not filled[name]}
        heads = [_one_by_one(frame.head(_HEAD_ROWS).collect()) for frame in self._frames]
        left = dict.fromkeys((name for name in asked if filled[name]), texts.readings(self._dialect))
        while left:
            left = {name: self._from_fitting(name, ways, heads) for name, ways in left.items()}
            first = {name: ways[0] for name, ways in left.items() if ways}
            fits = self._all_of(list(first), partial(self._fits, first), all)
            targets |= {name: way for name, way in first.items() if fits[name]}
            left = {name: ways[1:] for name, ways in left.items() if ways and not fits[name]}
        return targets

    def require(self, name: str, dtype: pl.DataType, why: str, *, is_strict: bool) -> Target:
        """Return how a column is read as a dtype.

        Raises:
            InvalidInput: A text of it is none of that dtype; names file, line and column.
        """
        way = texts.reading_of(dtype, self._dialect, may_lose=is_strict, zone=self._zone)
        if way is None:
            return pl.String()
        is_misfit = ~(texts.trimmed(name).is_null() | texts.trimmed(name).is_in(list(self._words)))
        is_misfit &= way.values(texts.trimmed(name)).is_null()
        for file, frame, names in zip(self._files, self._frames, self._columns, strict=True):
            if name in names:
                what = f"is no {dtype_text(dtype)}, {why}"
                refuse_first(frame, is_misfit, Misfit(file, name, what, name in self._hidden), self._dialect)
        return way

    def read(self, targets: Mapping[str, Target]) -> pl.LazyFrame:
        """Return the rows, each column read as is said."""
        frames = []
        for frame, names in zip(self._frames, self._columns, strict=True):
            # A separator at the end of each line makes a column without a name and without a value.
            kept = [name for name in names if not (name.startswith(UNNAMED) and targets[name] == pl.Null())]
            values = [self._values(name, targets[name]) for name in kept]
            frames.append(frame.with_columns(values).select(kept))
        return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")

    def _values(self, name: str, target: Target) -> pl.Expr:
        if isinstance(target, Reading):
            return texts.values_of(name, target, self._words)
        if target == pl.Null():
            return pl.lit(None).alias(name)
        text = pl.col(name)
        return pl.when(~text.is_in(self._dialect.missing)).then(text).alias(name) if self._dialect.missing else text

    def _fits(self, ways: Mapping[str, Reading], name: str) -> pl.Expr:
        return texts.fits(name, ways[name], self._words)

    def _from_fitting(self, name: str, ways: list[Reading], heads: Sequence[Mapping[str, Texts]]) -> list[Reading]:
        """Return the ways from the first on that the first rows of all files fit."""
        here = [head[name] for head in heads if name in head]
        for at, way in enumerate(ways):
            if all(head.select(texts.fits(name, way, self._words)).item() for head in here):
                return ways[at:]
        return []

    def _all_of(
        self, names: Sequence[str], fact: Callable[[str], pl.Expr], join: Callable[[Iterable[bool]], bool]
    ) -> dict[str, bool]:
        """Return a fact about columns, Boolean (1,) in each file that has them, joined over the files."""
        found: dict[str, list[bool]] = {name: [] for name in names}
        for frame, columns in zip(self._frames, self._columns, strict=True):
            here = set(columns)
            asked = [name for name in names if name in here]
            for begin in range(0, len(asked), _COLUMNS_AT_ONCE):
                part = asked[begin : begin + _COLUMNS_AT_ONCE]
                row = frame.select(fact(name).alias(str(at)) for at, name in enumerate(part)).collect().row(0)
                for name, value in zip(part, row, strict=True):
                    found[name].append(bool(value))
        return {name: join(values) for name, values in found.items()}


def _one_by_one(rows: pl.DataFrame) -> dict[str, Texts]:
    """Return columns as frames of their own: what a query costs to plan grows with the columns of its frame."""
    return {column.name: column.to_frame() for column in rows.get_columns()}


def _is_alike(target: Target, known: pl.DataType) -> bool:
    """Say whether what is read now is, or becomes without loss, what it was before."""
    dtype = target.dtype if isinstance(target, Reading) else target
    return dtype in (known, pl.Null()) or known == pl.Null() or (dtype.is_integer() and known.is_numeric())


def _scan(file: PlainText, dialect: Dialect, names: Sequence[str], has_blank: bool) -> pl.LazyFrame:
    """Return the texts of a file, without lines that are blank.

    The reader's own types are those of its first rows, its guesses at days are slow, and its words for no value would
    make a row of them a blank line.
    """
    rows = pl.scan_csv(
        file.path,
        has_header=not dialect.columns,
        separator=file.separator,
        quote_char=dialect.quote or None,
        comment_prefix=dialect.comment or None,
        skip_lines=dialect.skip,
        new_columns=list(names) or None,
        missing_columns="insert" if dialect.columns and dialect.short_lines == "fill" else "raise",
        infer_schema=False,
        glob=False,
    )
    return rows.filter(~pl.all_horizontal(pl.all().is_null())) if has_blank else rows
