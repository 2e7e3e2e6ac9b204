"""The dtypes a dataset may hold, and their text form. Polars is loaded when the first of them is asked for."""

import re
from functools import cache
from typing import TYPE_CHECKING

from loopwright.kernel.errors import InvalidInput

if TYPE_CHECKING:
    import polars as pl

_MOST_LETTERS = 200


@cache
def _plain() -> "dict[str, pl.DataType]":
    import polars as pl

    numbers = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64())
    others = (pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(), pl.Binary(), pl.Date(), pl.Time(), pl.Null())
    return {str(dtype): dtype for dtype in (*numbers, *others)}


def dtype_text(dtype: "pl.DataType") -> str:
    """Return the text of a dtype, such as ``Int64`` or ``Datetime(us, UTC)``.

    Raises:
        InvalidInput: A dataset cannot hold it.
    """
    import polars as pl

    if isinstance(dtype, pl.Datetime):
        return f"Datetime(us, {dtype.time_zone})" if dtype.time_zone else "Datetime(us)"
    if isinstance(dtype, pl.Duration):
        return "Duration(us)"
    if isinstance(dtype, pl.Decimal):
        return f"Decimal({dtype.precision}, {dtype.scale})"
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.DataType):
        return f"List({dtype_text(dtype.inner)})"
    if str(dtype) in _plain():
        return str(dtype)
    raise InvalidInput(
        "a dataset cannot hold this dtype", value=str(dtype), rule="numbers, texts, moments, lists of them"
    )


def parse_dtype(text: str) -> "pl.DataType":
    """Return the dtype of a text that ``dtype_text`` wrote.

    Raises:
        InvalidInput: It is no such text.

    >>> parse_dtype("Datetime(us, UTC)")
    Datetime(time_unit='us', time_zone='UTC')
    """
    import polars as pl

    if text in _plain():
        return _plain()[text]
    if len(text) > _MOST_LETTERS:
        raise InvalidInput("this dtype is too long", value=text, rule=f"at most {_MOST_LETTERS} letters")
    if text == "Duration(us)":
        return pl.Duration("us")
    if match := re.fullmatch(r"Datetime\(us(?:, ([\w/+\-]+))?\)", text):
        return pl.Datetime("us", match[1])
    if match := re.fullmatch(r"Decimal\((\d+), (\d+)\)", text):
        return pl.Decimal(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"List\((.+)\)", text):
        return pl.List(parse_dtype(match[1]))
    raise InvalidInput("this is not a dtype", value=text, rule="such as Int64, String or Datetime(us, UTC)")
