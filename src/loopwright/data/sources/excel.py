"""Workbooks of Excel and LibreOffice: one sheet of each. Needs the extra ``excel``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from loopwright.data.dtypes import parse_dtype
from loopwright.data.sources.base import Asked, join_alike, refused
from loopwright.kernel.errors import InvalidInput


class Workbooks:
    """Files with sheets; the first line of a sheet names its columns."""

    endings = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")

    def open(self, files: Sequence[Path], asked: Asked) -> pl.LazyFrame:
        """Return the rows of one sheet of each file, one after the other; it is read whole: a million lines at most."""
        return join_alike([_read(file, asked).lazy() for file in files])


def _read(file: Path, asked: Asked) -> pl.DataFrame:
    try:
        import fastexcel
    except ImportError:
        raise InvalidInput(
            "reading workbooks needs a library that is not installed",
            field="source.kind",
            value="excel",
            next_step='install it where the worker runs: pip install "loopwright[excel]"',
        ) from None
    try:
        book: Any = fastexcel.read_excel(file)
    except fastexcel.FastExcelError:
        raise refused(file, "is no workbook", "Excel or LibreOffice, not encrypted", "save it anew") from None
    sheet = asked.spec.sheet or book.sheet_names[0]
    if sheet not in book.sheet_names:
        names = ", ".join(book.sheet_names)
        raise refused(file, f"has no sheet {sheet}", f"one of {names}", "correct sheet= of the source")
    rows: pl.DataFrame = book.load_sheet(sheet, schema_sample_rows=None).to_polars()
    declared = {name: parse_dtype(dtype) for name, dtype in asked.spec.types.items() if name in rows.columns}
    return rows.with_columns(pl.col(name).cast(dtype) for name, dtype in declared.items())
