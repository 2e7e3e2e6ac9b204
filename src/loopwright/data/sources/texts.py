"""How text becomes values: by one rule, whoever reads it, and never so that it would be written another way again.

A column's type is that which all of its values fit, over all files. What would lose something stays text: codes that
begin with noughts, digits that no float holds, telephone numbers. Words for no value count as such in columns that are
numbers, moments or truths without them; among texts they are texts, for NA is a country.
"""

import re
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
_EXACT = 2.0**53
_CLOCK = {"H", "I", "T"}
"""Letters of a time of day."""
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
    is_zoned = "z" in directives(dialect.moments)
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


def directives(form: str) -> list[str]:
    """Return the letters of a form of ``strptime``, such as ``Y m d``."""
    return re.findall(r"%([A-Za-z%])", form)


def reading_of(dtype: pl.DataType, dialect: Dialect, *, may_lose: bool, zone: str | None = None) -> Reading | None:
    """Return the way to read a column as a dtype that somebody named; None for text, and what is no text in a file.

    Args:
        dtype: Which.
        dialect: How values are written.
        may_lose: What is written with noughts or a plus before it is a number all the same.
        zone: That of moments without one, where it is known: then moments with one, among them, are moments too.
    """
    if dtype.is_integer():
        return Reading(dtype, lambda text: _as_whole(text, dialect, dtype, may_lose))
    if dtype.is_float():
        return Reading(dtype, lambda text: _of_size(_float(text, dialect, may_lose), dtype))
    if isinstance(dtype, pl.Decimal):
        return Reading(dtype, lambda text: _decimal(_without_groups(text, dialect), dtype))
    ways = {way.dtype: way for way in readings(dialect)}
    found = ways.get(dtype)
    if found is None or zone is None or dtype not in (LOCAL, UTC):
        return found
    plain, other, convert = found.values, ways[UTC if dtype == LOCAL else LOCAL].values, _in_zone(dtype, zone)
    return Reading(dtype, lambda text: pl.coalesce(plain(text), convert(other(text))))


def _in_zone(dtype: pl.DataType, zone: str) -> Callable[[pl.Expr], pl.Expr]:
    """Return how moments of the other kind become those of a dtype; null where a clock shows a time twice or never."""

    def moments_of(local: pl.Expr) -> pl.Expr:
        return local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")

    def locals_of(moments: pl.Expr) -> pl.Expr:
        local = moments.dt.convert_time_zone(zone).dt.replace_time_zone(None)
        return pl.when(moments_of(local).is_not_null()).then(local)

    return locals_of if dtype == LOCAL else lambda local: moments_of(local).dt.convert_time_zone("UTC")


def missing_words(dialect: Dialect) -> Sequence[str]:
    """Return the words for no value in columns that are no texts."""
    return MISSING_WORDS if dialect.missing is None else ["", *dialect.missing]


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


def _integer(text: pl.Expr, dialect: Dialect, may_lose: bool = False, dtype: pl.DataType | None = None) -> pl.Expr:
    plain = _without_groups(text, dialect)
    numbers = plain.cast(dtype or pl.Int64(), strict=False)
    return numbers if may_lose else pl.when(~plain.str.contains(f"{_NOUGHT}|{_CALL}")).then(numbers)


def _float(text: pl.Expr, dialect: Dialect, may_lose: bool = False) -> pl.Expr:
    plain = _without_groups(text, dialect)
    numbers = plain.cast(pl.Float64, strict=False)
    # Too large or too small for a float, or no number at all: the text says something else than the value.
    is_other = numbers.is_nan() | (numbers.is_infinite() & plain.str.contains("[0-9]"))
    is_other |= (numbers == 0) & plain.str.contains(r"^[^eE]*[1-9]")
    if not may_lose:
        is_other |= plain.str.contains(f"{_NOUGHT}|{_LONG}|{_CALL}")
    return pl.when(~is_other).then(numbers)


def _of_size(numbers: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    sized = numbers.cast(dtype)
    return pl.when(sized.is_infinite() == numbers.is_infinite()).then(sized)


def _decimal(text: pl.Expr, dtype: pl.Decimal) -> pl.Expr:
    """Return decimals, null where there are more digits behind the point than they hold."""
    behind = text.str.extract(r"\.([0-9]*?)0*$").fill_null("").str.len_chars()
    return pl.when(behind <= dtype.scale).then(text.cast(dtype, strict=False))


def _as_whole(text: pl.Expr, dialect: Dialect, dtype: pl.DataType, may_lose: bool) -> pl.Expr:
    """Return whole numbers, also those that were written with a point, such as ``3.0``."""
    pointed = _float(text, dialect, may_lose)
    is_whole = (pointed == pointed.round()) & (pointed.abs() < _EXACT)
    whole = pl.when(is_whole).then(pointed).cast(pl.Int64, strict=False).cast(dtype, strict=False)
    return pl.coalesce(_integer(text, dialect, may_lose, dtype), whole)


def _truth(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().replace_strict(_TRUTHS, default=None, return_dtype=pl.Boolean)


def _day(text: pl.Expr, form: str) -> pl.Expr:
    return _of_four_digits(text.str.to_date(form, strict=False))


def _of_four_digits(moment: pl.Expr) -> pl.Expr:
    """Return moments but those whose year was written with fewer digits, which would be one of antiquity."""
    return pl.when(moment.dt.year() >= _FIRST_YEAR).then(moment)


def _local(text: pl.Expr, form: str) -> pl.Expr:
    if not _CLOCK.intersection(directives(form)):
        return _day(text, form).cast(LOCAL)
    return _of_four_digits(_on_clock(text).str.to_datetime(_fraction(form), strict=False, time_unit="us"))


def _time(text: pl.Expr, form: str) -> pl.Expr:
    return _on_clock(text).str.to_time(form, strict=False)


def _zoned(text: pl.Expr, form: str) -> pl.Expr:
    zoned = form if "%#z" in form else form.replace("%z", "%#z")
    read = _on_clock(text).str.to_datetime(_fraction(zoned), strict=False, time_unit="us", time_zone="UTC")
    return _of_four_digits(read)


def _on_clock(text: pl.Expr) -> pl.Expr:
    """Return texts without those of a sixtieth second, which the parser takes for the next minute."""
    return pl.when(~text.str.contains(r":60(?:$|[^0-9])")).then(text)


def _fraction(form: str) -> str:
    """Return a form in the parser's letters: to it a fraction without its point is nanoseconds."""
    return form.replace(".%f", "%.f")
