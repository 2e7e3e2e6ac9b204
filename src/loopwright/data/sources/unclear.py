"""Texts that should be moments: nobody guesses what they mean, and whoever has to say it sees which they are.

Of days that begin with the day or the month both readings are shown.
"""

import re

import polars as pl

from loopwright.data.sources import texts
from loopwright.data.types import Dialect
from loopwright.kernel.errors import InvalidInput

MOMENTS = "declared times are moments in a time zone"
_READINGS = {"%m/%d/%Y": "month first", "%d/%m/%Y": "day first"}
_DAY = r"^\s*([0-9]{1,2})([-/.])([0-9]{1,2})[-/.]([0-9]{4})(.*)$"
_CLOCKS = {
    r"[0-9]{1,2}:[0-9]{2}": "%H:%M",
    r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}": "%H:%M:%S",
    r"[0-9]{1,2}:[0-9]{2} ?[AaPp][Mm]": "%I:%M %p",
    r"[0-9]{1,2}:[0-9]{2}:[0-9]{2} ?[AaPp][Mm]": "%I:%M:%S %p",
}


def refuse_texts(column: pl.Series, *, is_hidden: bool) -> None:
    """Refuse texts where moments should be; shows the first that is none, or names no zone.

    Args:
        column: Texts.
        is_hidden: They are personal, and stand in no error.
    """
    refuse_unclear(column, is_hidden=is_hidden)
    filled = column.drop_nulls()
    has_zone, is_local = (_read(filled, dtype).is_not_null() for dtype in (texts.UTC, texts.LOCAL))
    is_wrong = ~(has_zone | is_local)
    if has_zone.any() and is_local.any() and not is_wrong.any():
        what, is_wrong = "names a time zone in some rows alone", is_local
        step = "write one in every row, or in none and say zone= at the source"
    else:
        what, reading = "is String, not a moment", f'pl.col("{column.name}").str.to_datetime(time_zone="UTC")'
        before = "correct or drop such rows; others reads " if is_wrong.any() else ""
        step = f"{before}{reading}, in the transform or before"
    first = filled[is_wrong.arg_max() or 0] if filled.len() and not is_hidden else None
    raise InvalidInput(
        f"column {column.name} {what}{'' if first is None else f': {first!r}'}",
        field=column.name,
        value=first,
        rule=MOMENTS,
        next_step=step,
    )


def _read(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    reading = texts.reading_of(dtype, Dialect(), may_lose=False)
    assert reading is not None
    name = column.name
    return column.to_frame().select(reading.values(texts.trimmed(name)).alias(name)).get_column(name)


def refuse_unclear(column: pl.Series, *, is_hidden: bool) -> None:
    """Refuse texts of days that begin with day or month; nothing is done to other texts.

    Args:
        column: Texts.
        is_hidden: They are personal, and stand in no error.
    """
    filled = column.drop_nulls()
    days = filled.str.replace(_DAY, "$1/$3/$4")
    is_day = filled.str.contains(_DAY)
    if not is_day.any() or not is_day.all():
        return
    read = {form: days.str.to_date(form, strict=False) for form in _READINGS}
    fitting = [form for form, values in read.items() if values.null_count() == 0]
    if not fitting:
        return
    telling = _telling(*read.values())
    both = [f"{read[form][telling]:%d %B %Y} ({what})" for form, what in _READINGS.items() if read[form][telling]]
    found = "a day" if is_hidden else f"{filled[telling]!r}, {' or '.join(both)}"
    what = (
        "can be read in two ways" if len(fitting) > 1 else f"holds days that can be read {_READINGS[fitting[0]]} alone"
    )
    raise InvalidInput(
        f"column {column.name} {what}: {found}",
        field=column.name,
        value=None if is_hidden else filled[telling],
        rule="a moment is read in one way, which ISO 8601 or its declaration says",
        next_step=f"say which, such as source.csv(..., {_declaration(fitting[0], filled[telling])})",
    )


def _telling(month_first: pl.Series, day_first: pl.Series) -> int:
    """Return the place of the first day that is another day, or none, where it is read the other way."""
    differs = month_first.ne_missing(day_first)
    return differs.arg_max() or 0


def _declaration(form: str, text: str) -> str:
    """Return how a source says that it is written so: with the marks and the time of day of a text."""
    match = re.match(_DAY, text)
    assert match is not None
    form, rest = form.replace("/", match[2]), match[5].strip(" T")
    if not rest:
        return f"dates={form!r}"
    clock = next((clock for pattern, clock in _CLOCKS.items() if re.fullmatch(pattern, rest)), "%H:%M")
    return f"moments={form + ('T' if match[5].startswith('T') else ' ') + clock!r}"
