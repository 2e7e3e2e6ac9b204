"""CSV files: types are told by all values of all files, and what does not fit is named by file, line and column."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from loopwright.data.columns import dtype_text, parse_dtype
from loopwright.data.sources import texts
from loopwright.data.sources.base import Asked
from loopwright.data.sources.misfits import Misfit, explain, refuse_first, refuse_length, twice_named
from loopwright.data.sources.plain import PlainText, plain_texts
from loopwright.data.sources.texts import Reading
from loopwright.data.types import Dialect
from loopwright.kernel.errors import InvalidInput

_HEAD_ROWS = 1000
_NUMBERS = (pl.Int64(), pl.Float64())
_NATIVE = (*_NUMBERS, pl.Boolean(), pl.Date(), texts.LOCAL, texts.UTC, pl.Time())
"""What the reader may take a column for. It knows whole numbers of 128 bits too, which a dataset does not hold."""

Target = Reading | pl.DataType
"""How a column is read: from its texts, or as the reader takes it; ``String`` is its texts as they are."""


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
        dialect = asked.spec.dialect
        self._files, self._dialect, self._hidden = files, dialect, asked.hidden
        self._words = texts.missing_words(dialect)
        self._is_plain = dialect.decimal == "." and not dialect.thousands
        self._natives = [_scan(file, dialect, self._is_plain) for file in files]
        self._texts = [_scan(file, dialect, is_typed=False) for file in files]
        self._columns = [frame.collect_schema().names() for frame in self._texts]
        for file, names in zip(files, self._columns, strict=True):
            if twice := next((name for name in names if "_duplicated_" in name), None):
                raise twice_named(file, twice.partition("_duplicated_")[0])
        self.names = list(dict.fromkeys(name for names in self._columns for name in names))

    def check_shape(self) -> None:
        """Refuse files of which each has a column that another lacks."""
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

    def tell_types(self, as_texts: set[str]) -> dict[str, Target]:
        """Return how each column is read, told by all values of all files; ``as_texts`` stay texts."""
        natives = self._native_types()
        targets: dict[str, Target] = {}
        unclear = []
        for name in self.names:
            found = natives.get(name, set())
            if name in as_texts:
                targets[name] = pl.String()
            elif not found:
                targets[name] = pl.Null()
            elif found <= set(_NUMBERS):
                targets[name] = max(found, key=_NUMBERS.index)
            elif len(found) == 1 and pl.String() not in found:
                targets[name] = next(iter(found))
            else:
                unclear.append(name)
        return {**targets, **self._tell_by_texts(unclear)}

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
        for file, frame in self._with(name):
            what = f"is no {dtype_text(dtype)}, {why}"
            refuse_first(frame, is_misfit, Misfit(file, name, what, name in self._hidden), self._dialect)
        return way

    def read(self, targets: Mapping[str, Target]) -> pl.LazyFrame:
        """Return the rows, each column read as is said."""
        last = [names[-1] for names in self._columns]
        for file, frame, name in zip(self._files, self._texts, last, strict=True):
            refuse_length(file, frame, name, self._dialect)
        frames = []
        for file, names in zip(self._files, self._columns, strict=True):
            by_text = [name for name in names if isinstance(targets[name], Reading) or targets[name] == pl.String()]
            frame = _scan(file, self._dialect, self._is_plain, by_text)
            is_blank = pl.all_horizontal(pl.col(names).is_null())  # a line with nothing on it
            read_as = frame.collect_schema()
            values = [self._values(name, targets[name], read_as[name]) for name in names]
            frames.append(frame.filter(~is_blank).with_columns(values))
        return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")

    def _values(self, name: str, target: Target, read_as: pl.DataType) -> pl.Expr:
        if isinstance(target, Reading):
            return texts.values_of(name, target, self._words)
        if target == pl.Null():
            return pl.lit(None).alias(name)
        if read_as == pl.String() != target:  # this file has nothing but words for no value
            return pl.lit(None, target).alias(name)
        values = pl.col(name).cast(target)
        return values.fill_nan(None) if target.is_float() else values

    def _with(self, name: str) -> list[tuple[PlainText, pl.LazyFrame]]:
        together = zip(self._files, self._texts, self._columns, strict=True)
        return [(file, frame) for file, frame, names in together if name in names]

    def _native_types(self) -> dict[str, set[pl.DataType]]:
        """Return what the reader takes columns for in files where they have values; String where it would lose."""
        found: dict[str, set[pl.DataType]] = {}
        for native, frame in zip(self._natives, self._texts, strict=True):
            schema = native.collect_schema()
            asked: dict[str, pl.Expr] = {}
            for name, dtype in schema.items():
                doubt = texts.has_values(name, self._words) if dtype == pl.String else texts.loses(name, dtype)
                if doubt is not None:
                    asked[name] = doubt
            facts = frame.select(**asked).collect().row(0, named=True) if asked else {}
            for name, dtype in schema.items():
                if dtype == pl.String and not facts[name]:
                    continue
                is_lost = dtype not in _NATIVE or (dtype != pl.String and facts.get(name, False))
                found.setdefault(name, set()).add(pl.String() if is_lost else dtype)
        return found

    def _tell_by_texts(self, names: Sequence[str]) -> dict[str, Target]:
        """Return the first way to read each column that all of its texts fit; as texts where there is none."""
        ways = {name: texts.readings(self._dialect) for name in names}
        for most in (_HEAD_ROWS, None):
            for frame, here in zip(self._texts, self._columns, strict=True):
                asked = {name: ways[name] for name in names if name in here and ways[name]}
                facts = _fitting(frame if most is None else frame.head(most), asked, self._words)
                for name, ways_of in asked.items():
                    ways[name] = [way for at, way in enumerate(ways_of) if facts[f"{name}\0{at}"]]
        return {name: ways[name][0] if ways[name] else pl.String() for name in names}


def _fitting(frame: pl.LazyFrame, ways: Mapping[str, list[Reading]], words: Sequence[str]) -> dict[str, Any]:
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


def _scan(file: PlainText, dialect: Dialect, is_typed: bool, as_texts: Sequence[str] = ()) -> pl.LazyFrame:
    return pl.scan_csv(
        file.path,
        has_header=not dialect.columns,
        separator=file.separator,
        quote_char=dialect.quote or None,
        comment_prefix=dialect.comment or None,
        skip_lines=dialect.skip,
        new_columns=dialect.columns or None,
        null_values=dialect.missing,
        infer_schema=is_typed,
        infer_schema_length=None,
        schema_overrides=dict.fromkeys(as_texts, pl.String()) if is_typed else None,
        try_parse_dates=is_typed,
        glob=False,
    )
