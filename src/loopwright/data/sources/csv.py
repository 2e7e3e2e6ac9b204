"""CSV files: types are told by all values of all files, and what does not fit is named by file, line and column."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from loopwright.data.dtypes import dtype_text, parse_dtype
from loopwright.data.sources import texts
from loopwright.data.sources.base import Asked
from loopwright.data.sources.misfits import Misfit, explain, refuse_first, refuse_length, twice_named
from loopwright.data.sources.plain import PlainText, plain_texts
from loopwright.data.sources.texts import Reading
from loopwright.data.types import Dialect
from loopwright.kernel.errors import InvalidInput

_HEAD_ROWS = 1000
Target = Reading | pl.DataType
"""How a column is read; ``String`` is its texts as they are, ``Null`` a column without any value."""


class CsvFiles:
    """Files of separated values."""

    endings = (".csv", ".tsv", *(f".csv{packed}" for packed in (".gz", ".zst", ".zip", ".bz2", ".xz")))

    def open(self, files: Sequence[Path], asked: Asked) -> pl.LazyFrame:
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
            rule = f"one of {', '.join(table.names[:20])}"
            raise InvalidInput("no such column", field=f"source.types.{name}", value=name, rule=rule)
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
        self._words = texts.missing_words(self._dialect)
        self._frames = [_scan(file, self._dialect) for file in files]
        self._columns = [frame.collect_schema().names() for frame in self._frames]
        for file, names in zip(files, self._columns, strict=True):
            if twice := next((name for name in names if "_duplicated_" in name), None):
                raise twice_named(file, twice.partition("_duplicated_")[0])
        self.names = list(dict.fromkeys(name for names in self._columns for name in names))

    def check_shape(self) -> None:
        """Refuse files of which each has a column that another lacks, and lines with too few fields."""
        widest = max(range(len(self._files)), key=lambda at: len(self._columns[at]))
        for file, names in zip(self._files, self._columns, strict=True):
            alone = [name for name in names if name not in self._columns[widest]]
            if alone:
                other = next(name for name in self._columns[widest] if name not in names)
                raise InvalidInput(
                    f"{file.name} has a column {alone[0]}, {self._files[widest].name} has {other} instead",
                    field="source",
                    value=file.name,
                    rule="files agree in their columns; later ones may have more",
                    next_step="name it alike in all files",
                )
        for file, frame, names in zip(self._files, self._frames, self._columns, strict=True):
            refuse_length(file, frame, names[-1], self._dialect)

    def tell_types(self, as_texts: set[str]) -> dict[str, Target]:
        """Return how each column is read, told by all values of all files; ``as_texts`` stay texts.

        The first rows leave few ways to read a column, and hardly ever more than one has to be tried on all of them.
        """
        targets: dict[str, Target] = {name: pl.String() for name in self.names if name in as_texts}
        ways = {name: texts.readings(self._dialect) for name in self.names if name not in as_texts}
        ways = self._fitting(ways, _HEAD_ROWS)
        filled = self._filled(list(ways))
        targets |= {name: pl.Null() for name in ways if name not in filled}
        ways = {name: listed for name, listed in ways.items() if name in filled}
        while ways:
            targets |= {name: pl.String() for name, listed in ways.items() if not listed}
            ways = {name: listed for name, listed in ways.items() if listed}
            fitting = self._fitting({name: listed[:1] for name, listed in ways.items()})
            targets |= {name: found[0] for name, found in fitting.items() if found}
            ways = {name: listed[1:] for name, listed in ways.items() if not fitting[name]}
        return targets

    def require(self, name: str, dtype: pl.DataType, why: str, *, is_strict: bool) -> Target:
        """Return how a column is read as a dtype.

        Raises:
            InvalidInput: A text of it is none of that dtype; names file, line and column.
        """
        way = texts.reading_of(dtype, self._dialect, may_lose=is_strict)
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
        """Return the rows, each column read as is said; a line with nothing on it is no row."""
        frames = []
        for frame, names in zip(self._frames, self._columns, strict=True):
            is_blank = pl.all_horizontal(pl.col(names).is_null())
            frames.append(frame.filter(~is_blank).with_columns(self._values(name, targets[name]) for name in names))
        return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")

    def _values(self, name: str, target: Target) -> pl.Expr:
        if isinstance(target, Reading):
            return texts.values_of(name, target, self._words)
        return pl.lit(None).alias(name) if target == pl.Null() else pl.col(name)

    def _filled(self, names: Sequence[str]) -> set[str]:
        """Return the columns with a value in any file."""
        filled: set[str] = set()
        for frame, here in zip(self._frames, self._columns, strict=True):
            for most in (_HEAD_ROWS, None):
                asked = {
                    name: texts.has_values(name, self._words) for name in names if name in here and name not in filled
                }
                if asked:
                    rows = frame if most is None else frame.head(most)
                    facts = rows.select(**asked).collect().row(0, named=True)
                    filled |= {name for name, is_filled in facts.items() if is_filled}
        return filled

    def _fitting(self, ways: Mapping[str, list[Reading]], most: int | None = None) -> dict[str, list[Reading]]:
        """Return those ways to read columns that all texts fit, or the first ``most`` of each file."""
        left = dict(ways)
        for frame, here in zip(self._frames, self._columns, strict=True):
            asked = {name: listed for name, listed in left.items() if name in here and listed}
            facts = _try(frame if most is None else frame.head(most), asked, self._words)
            for name, listed in asked.items():
                left[name] = [way for at, way in enumerate(listed) if facts[f"{name}\0{at}"]]
        return left


def _try(frame: pl.LazyFrame, ways: Mapping[str, list[Reading]], words: Sequence[str]) -> dict[str, Any]:
    facts = [
        texts.fits(name, way, words).alias(f"{name}\0{at}")
        for name, listed in ways.items()
        for at, way in enumerate(listed)
    ]
    return frame.select(facts).collect().row(0, named=True) if facts else {}


def _is_alike(target: Target, known: pl.DataType) -> bool:
    """Say whether what is read now is, or becomes without loss, what it was before."""
    dtype = target.dtype if isinstance(target, Reading) else target
    return dtype in (known, pl.Null()) or known == pl.Null() or (dtype.is_integer() and known.is_numeric())


def _scan(file: PlainText, dialect: Dialect) -> pl.LazyFrame:
    """Return the texts of a file. The reader's own types are those of its first rows, and its guesses at days slow."""
    return pl.scan_csv(
        file.path,
        has_header=not dialect.columns,
        separator=file.separator,
        quote_char=dialect.quote or None,
        comment_prefix=dialect.comment or None,
        skip_lines=dialect.skip,
        new_columns=dialect.columns or None,
        null_values=dialect.missing,
        infer_schema=False,
        glob=False,
    )
