"""A row's key as text: what names it in training sets, in the prediction log, and where a label is sent for it.

The texts are stored, and compared with texts that another process wrote from another form of the same row. So there is
one way to write a part and one way to join parts, for frames and for JSON alike, and neither may ever change.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

ROW_ID = "row_id"
"""Name of the column of keys."""


def join_parts(parts: Sequence[str]) -> str:
    r"""Return the text of a key: its parts joined by ``|``.

    What looks like a joint inside a part is escaped, else two keys could have one text. A key of one part has no joint
    and stays as people write it.

    >>> join_parts(["UA|1", "JFK"])
    'UA\\|1|JFK'
    """
    if len(parts) == 1:
        return parts[0]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def part_text(value: str | float) -> str:
    """Return a part that came as JSON as ``texts`` writes it in a frame.

    >>> part_text(True), part_text(7), part_text(7.0)
    ('true', '7', '7')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    # No key is a column of floats, but some programs write every number as one.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def texts(series: "pl.Series") -> "pl.Series":
    """Return values as text, String (n,), null where null; moments as microseconds UTC.

    Microseconds because a moment has many spellings, of which two processes would choose two.
    """
    import polars as pl

    if isinstance(series.dtype, pl.Datetime):
        series = series.cast(pl.Datetime("us", series.dtype.time_zone)).cast(pl.Int64)
    return series.cast(pl.String)


def row_ids(frame: "pl.DataFrame", key: Sequence[str]) -> "pl.Series":
    """Return the keys of a frame's rows, String (n,), named ``row_id``; a part that is null is empty."""
    import polars as pl

    columns = [texts(frame[name]) for name in key]
    # Filling is a query, which costs more than all else on a few rows: only where there is a gap.
    parts = [column.fill_null("") if column.null_count() else column for column in columns]
    if len(parts) == 1:
        return parts[0].alias(ROW_ID)
    joined = [join_parts(row) for row in zip(*(part.to_list() for part in parts), strict=True)]
    return pl.Series(ROW_ID, joined, pl.String)
