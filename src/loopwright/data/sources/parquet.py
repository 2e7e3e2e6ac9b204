"""Parquet: files and folders as Polars, pandas, Spark and Hive write them."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from loopwright.data.sources import texts
from loopwright.data.sources.base import Asked, SourceFile, join_alike, place_of
from loopwright.data.types import Dialect

_INDEX_OF_PANDAS = re.compile(r"__index_level_\d+__")
_PARTITION = re.compile(r"([^=/]+)=([^/]*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_FILE = "\0file"


class ParquetFiles:
    """Files of Parquet. Folders named ``column=value`` tell a column; files may lack columns that others have."""

    endings = (".parquet", ".pq", ".parq")

    def open(self, files: Sequence[SourceFile], asked: Asked) -> pl.LazyFrame:
        """Return the rows of files: those alike in columns and dtypes one after the other, in order of their names."""
        alike: dict[tuple[tuple[str, str], ...], list[Path]] = defaultdict(list)
        for file in files:
            schema = pl.read_parquet_schema(file.path)
            alike[tuple((name, str(dtype)) for name, dtype in schema.items())].append(file.path)
        told = _partitions(files, place_of(asked.spec.location))
        if not told:
            return join_alike([_plain(pl.scan_parquet(paths, glob=False)) for paths in alike.values()])
        texts_before = {name for name, dtype in asked.known.items() if dtype == pl.String}
        values = _typed(told, {*(name for shape in alike for name, _ in shape)}, texts_before).lazy()
        frames = [_plain(pl.scan_parquet(paths, glob=False, include_file_paths=_FILE)) for paths in alike.values()]
        return join_alike([frame.join(values, on=_FILE, how="left").drop(_FILE) for frame in frames])


def _plain(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rows without the index that pandas may have written as a column."""
    return rows.drop([name for name in rows.collect_schema().names() if _INDEX_OF_PANDAS.fullmatch(name)])


def _partitions(files: Sequence[SourceFile], place: Path) -> dict[str, dict[str, str | None]]:
    """Return what the names of folders below a place tell of each file, by where it is opened; empty for nothing."""
    root = place.resolve()
    told: dict[str, dict[str, str | None]] = {}
    for file in files:
        folders = file.shown.relative_to(root).parts[:-1] if file.shown.is_relative_to(root) else ()
        found = [match for folder in folders if (match := _PARTITION.fullmatch(folder))]
        told[str(file.path)] = {one[1]: None if one[2] == _NO_VALUE else unquote(one[2]) for one in found}
    return told if any(told.values()) else {}


def _typed(told: Mapping[str, Mapping[str, str | None]], inside: set[str], texts_before: set[str]) -> pl.DataFrame:
    """Return a row for each file with what its folders tell; a column that stands in the files counts there."""
    names = list(dict.fromkeys(name for values in told.values() for name in values if name not in inside))
    columns = {name: [values.get(name) for values in told.values()] for name in names}
    frame = pl.DataFrame({_FILE: list(told), **columns}, schema_overrides=dict.fromkeys([_FILE, *names], pl.String))
    for name in (name for name in names if name not in texts_before):
        ways = texts.readings(Dialect())
        way = next((way for way in ways if frame.select(texts.fits(name, way, ())).item()), None)
        if way is not None and frame[name].null_count() < frame.height:
            frame = frame.with_columns(texts.values_of(name, way, ()))
    return frame
