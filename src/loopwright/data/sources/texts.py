"""How text becomes values: by one rule, whoever reads it, and never so that it would be written another way again.

A column's type is that which all of its values fit, over all files. What would lose something stays text: codes that
begin with noughts, digits that no float holds, telephone numbers. Words for no value count as such in columns that are
numbers, moments or truths without them; among texts they are texts, for NA is a country.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from loopwright.data.types import Dialect

MISSING_WORDS = (
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "<NA>",
    "NaN",
    "nan",
    "NULL",
    "Null",
    "null",
    "None",
    "none",
    "-",
    "\\N",
)
"""What programs write where there is no value."""

UTC = pl.Datetime("us", "UTC")
LOCAL = pl.Datetime("us")
_NOUGHT, _LONG, _CALL = r"^[+-]?0[0-9]", r"^[+-]?[0-9]{16,}$", r"^\+[0-9]{7,}$"
"""What would be written without its noughts, rounded, or without its plus."""
_FIRST_YEAR = 1000
_DATES = ("%Y-%m-%d", "%Y/%m/%d")
_MOMENTS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S%.f")
_ZONED = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z")
_TRUTHS = {"true": True, "false": False}


class Reading(NamedTuple):
    """One way to read the texts of a column: its dtype, and the values, null where a text does not fit."""

    dtype: pl.DataType
    values: Callable[[pl.Expr], pl.Expr]


def readings(dialect: Dialect) -> list[Reading]:
    """Return the ways to read a column, in the order in which they are tried: one form of moments, then several."""
    dates = [form for form in (*_DATES, dialect.dates) if form]
    is_zoned = dialect.moments.endswith("z")
    local = [form for form in (*_MOMENTS, "" if is_zoned else dialect.moments) if form]
    zoned = [form for form in (*_ZONED, dialect.moments if is_zoned else "") if form]
    return [
        Reading(pl.Int64(), lambda text: _integer(text, dialect)),
        Reading(pl.Float64(), lambda text: _float(text, dialect)),
        Reading(pl.Boolean(), _truth),
        *_moments(pl.Date(), dates, _day),
        *_moments(LOCAL, local, _local, also=dates),
        *_moments(UTC, zoned, _zoned),
        *_moments(pl.Time(), ["%H:%M:%S%.f", "%H:%M"], _time),
    ]


def _moments(
    dtype: pl.DataType, forms: Sequence[str], read: Callable[[pl.Expr, str], pl.Expr], also: Sequence[str] = ()
) -> list[Reading]:
    """Return a way for each form alone, then one for all of them: each form that is tried costs a pass."""

    def alone(form: str) -> Reading:
        return Reading(dtype, lambda text: read(text, form))

    together = Reading(dtype, lambda text: pl.coalesce([read(text, form) for form in (*forms, *also)]))
    return [*map(alone, forms), together]


def reading_of(dtype: pl.DataType, dialect: Dialect, *, may_lose: bool) -> Reading | None:
    """Return the way to read a column as a dtype that somebody named; None for text, and what is no text in a file.

    Args:
        dtype: Which.
        dialect: How values are written.
        may_lose: What is written with noughts or a plus before it is a number all the same.
    """
    if dtype.is_integer():
        return Reading(dtype, lambda text: _as_whole(text, dialect, may_lose).cast(dtype, strict=False))
    if dtype.is_float():
        return Reading(dtype, lambda text: _float(text, dialect, may_lose).cast(dtype))
    if isinstance(dtype, pl.Decimal):
        return Reading(dtype, lambda text: _without_groups(text, dialect).cast(dtype, strict=False))
    return next((way for way in reversed(readings(dialect)) if way.dtype == dtype), None)


def missing_words(dialect: Dialect) -> Sequence[str]:
    """Return the words for no value in columns that are no texts."""
    return MISSING_WORDS if dialect.missing is None else dialect.missing


def fits(name: str, reading: Reading, words: Sequence[str]) -> pl.Expr:
    """Return whether every text of a column is a value of a reading or a word for none, Boolean (1,)."""
    text = trimmed(name)
    return (text.is_null() | text.is_in(list(words)) | reading.values(text).is_not_null()).all()


def has_values(name: str, words: Sequence[str]) -> pl.Expr:
    """Return whether a column of texts holds anything but words for no value, Boolean (1,)."""
    text = trimmed(name)
    return (text.is_not_null() & ~text.is_in(list(words))).any()


def values_of(name: str, reading: Reading, words: Sequence[str]) -> pl.Expr:
    """Return a column of texts as values, by its name; words for no value are null."""
    text = trimmed(name)
    return pl.when(text.is_in(list(words))).then(None).otherwise(reading.values(text)).cast(reading.dtype).alias(name)


def trimmed(name: str) -> pl.Expr:
    """Return a column of texts without the blanks around them."""
    return pl.col(name).str.strip_chars()


def _without_groups(text: pl.Expr, dialect: Dialect) -> pl.Expr:
    """Return numbers with a point before their decimals and nothing between their digits."""
    if dialect.thousands:
        grouped = (
            rf"^[+-]?[0-9]{{1,3}}(?:{_escaped(dialect.thousands)}[0-9]{{3}})+(?:{_escaped(dialect.decimal)}[0-9]*)?$"
        )
        plain = text.str.replace_all(dialect.thousands, "", literal=True)
        text = pl.when(text.str.contains(grouped)).then(plain).otherwise(text)
    if dialect.decimal == ".":
        return text
    pointed = text.str.replace(dialect.decimal, ".", literal=True)
    return pl.when(text.str.contains(".", literal=True)).then(None).otherwise(pointed)  # it is no decimal point here


def _escaped(mark: str) -> str:
    return "".join(f"\\{letter}" if not letter.isalnum() and not letter.isspace() else letter for letter in mark)


def _integer(text: pl.Expr, dialect: Dialect, may_lose: bool = False) -> pl.Expr:
    plain = _without_groups(text, dialect)
    numbers = plain.cast(pl.Int64, strict=False)
    return numbers if may_lose else pl.when(~plain.str.contains(f"{_NOUGHT}|{_CALL}")).then(numbers)


def _float(text: pl.Expr, dialect: Dialect, may_lose: bool = False) -> pl.Expr:
    plain = _without_groups(text, dialect)
    numbers = plain.cast(pl.Float64, strict=False)
    return numbers if may_lose else pl.when(~plain.str.contains(f"{_NOUGHT}|{_LONG}|{_CALL}")).then(numbers)


def _as_whole(text: pl.Expr, dialect: Dialect, may_lose: bool) -> pl.Expr:
    """Return whole numbers, also those that were written with a point, such as ``3.0``."""
    pointed = _float(text, dialect, may_lose)
    whole = pl.when(pointed == pointed.round()).then(pointed.cast(pl.Int64, strict=False))
    return pl.coalesce(_integer(text, dialect, may_lose), whole)


def _truth(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().replace_strict(_TRUTHS, default=None, return_dtype=pl.Boolean)


def _day(text: pl.Expr, form: str) -> pl.Expr:
    return _of_four_digits(text.str.to_date(form, strict=False))


def _of_four_digits(moment: pl.Expr) -> pl.Expr:
    """Return moments but those whose year was written with fewer digits, which would be one of antiquity."""
    return pl.when(moment.dt.year() >= _FIRST_YEAR).then(moment)


def _local(text: pl.Expr, form: str) -> pl.Expr:
    if "H" not in form and "I" not in form and "T" not in form:
        return _day(text, form).cast(LOCAL)
    return _of_four_digits(text.str.to_datetime(form, strict=False, time_unit="us"))


def _time(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_time(form, strict=False)


def _zoned(text: pl.Expr, form: str) -> pl.Expr:
    zoned = form if "%#z" in form else form.replace("%z", "%#z")
    return _of_four_digits(text.str.to_datetime(zoned, strict=False, time_unit="us", time_zone="UTC"))
