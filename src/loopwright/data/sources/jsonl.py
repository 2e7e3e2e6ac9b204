"""JSON lines: one object a line. Days and moments are texts there, and are read as those of a CSV file."""

from collections.abc import Sequence

import polars as pl

from loopwright.data.sources import texts
from loopwright.data.sources.base import Asked, SourceFile, join_alike, literal
from loopwright.data.sources.declared import as_declared
from loopwright.data.sources.plain import unpacked_lines
from loopwright.data.sources.texts import Reading

_HEAD_ROWS = 200
_MOMENTS = (pl.Date(), texts.LOCAL, texts.UTC)


class JsonLines:
    """Files with one JSON object a line."""

    endings = (".jsonl", ".ndjson", ".json")

    def open(self, files: Sequence[SourceFile], asked: Asked) -> pl.LazyFrame:
        """Return the rows of files, one after the other."""
        plain = unpacked_lines(files, asked.scratch)
        opened = [pl.scan_ndjson(literal(file.path), infer_schema_length=None) for file in plain]
        rows = as_declared(join_alike(opened), asked)
        stays = {name for name, dtype in asked.known.items() if dtype == pl.String} | {*asked.spec.types}
        names = [name for name, dtype in rows.collect_schema().items() if dtype == pl.String and name not in stays]
        return rows.with_columns(read_moments(rows, names, asked))


def read_moments(rows: pl.LazyFrame, names: Sequence[str], asked: Asked) -> list[pl.Expr]:
    """Return those columns of texts that hold nothing but days or moments, as such."""
    if not names:
        return []
    words = texts.missing_words(asked.spec.dialect)
    ways = [way for way in texts.readings(asked.spec.dialect) if way.dtype in _MOMENTS]
    head = rows.select(names).head(_HEAD_ROWS).collect()
    left = {name: _fitting(head.get_column(name).to_frame(), ways, words) for name in names}
    left = {name: fitting for name, fitting in left.items() if fitting}  # hardly any text is a moment
    if not left:
        return []
    facts = [
        texts.fits(name, way, words).alias(f"{name}\0{at}")
        for name, fitting in left.items()
        for at, way in enumerate(fitting)
    ]
    filled = [texts.has_values(name, words).alias(name) for name in left]
    found = rows.select(*facts, *filled).collect().row(0, named=True)
    chosen = {
        name: next((way for at, way in enumerate(fitting) if found[f"{name}\0{at}"]), None)
        for name, fitting in left.items()
        if found[name]
    }
    return [texts.values_of(name, way, words) for name, way in chosen.items() if way is not None]


def _fitting(column: pl.DataFrame, ways: Sequence[Reading], words: Sequence[str]) -> list[Reading]:
    """Return the ways to read a column, the only one of a frame, that all of its texts fit."""
    return [way for way in ways if column.select(texts.fits(column.columns[0], way, words)).item()]
