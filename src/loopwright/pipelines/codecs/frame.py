"""Frames of Polars and pandas, as Parquet."""

import sys
from typing import Any

from loopwright.pipelines.codecs.base import Files


class FrameCodec:
    """Passes a frame as one Parquet blob; one of pandas comes back as pandas, its index written as columns.

    A document may ask for a part: ``slice`` has the first row and how many, ``columns`` the names.
    """

    def can_encode(self, value: Any) -> bool:
        """Take DataFrames of both libraries and LazyFrames."""
        return _library(value) in ("polars", "pandas") and type(value).__name__ in ("DataFrame", "LazyFrame")

    def encode(self, value: Any, files: Files) -> Any:
        """Write the Parquet file."""
        import polars as pl

        path = files.folder / f"frame-{len(files.kept)}.parquet"
        is_pandas = _library(value) == "pandas"
        if is_pandas:
            has_index = type(value.index).__name__ != "RangeIndex"
            value = pl.from_pandas(value.reset_index() if has_index else value)
        frame = value.collect() if isinstance(value, pl.LazyFrame) else value
        frame.write_parquet(path, compression="zstd")
        return {"blob": files.keep(path), "rows": frame.height, "library": "pandas" if is_pandas else "polars"}

    def decode(self, document: dict[str, Any], files: Files) -> Any:
        """Read the Parquet file."""
        import polars as pl

        rows = pl.scan_parquet(files.path(document["blob"]))
        if "slice" in document:
            rows = rows.slice(*document["slice"])
        if "columns" in document:
            rows = rows.select(document["columns"])
        frame = rows.collect()
        return frame.to_pandas() if document.get("library") == "pandas" else frame


def _library(value: Any) -> str:
    name = type(value).__module__.partition(".")[0]
    return name if name in sys.modules else ""
