"""Days that begin with the day or the month: nobody guesses which, and whoever has to say it sees both readings."""

import polars as pl

from loopwright.kernel.errors import InvalidInput

_READINGS = {"%m/%d/%Y": "month first", "%d/%m/%Y": "day first"}
_DAY = r"^\s*([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})(?:[ T].*)?$"


def refuse_unclear(column: pl.Series, *, is_hidden: bool) -> None:
    """Refuse texts of days that begin with day or month, by the first of them; nothing is done to other texts.

    Args:
        column: Texts.
        is_hidden: They are personal, and stand in no error.
    """
    filled = column.drop_nulls()
    days = filled.str.replace(_DAY, "$1/$2/$3")
    is_day = filled.str.contains(_DAY)
    if not is_day.any() or not is_day.all():
        return
    read = {form: days.str.to_date(form, strict=False) for form in _READINGS}
    fitting = [form for form, values in read.items() if values.null_count() == 0]
    if not fitting:
        return
    both = [f"{read[form][0]:%d %B %Y} ({what})" for form, what in _READINGS.items() if read[form][0] is not None]
    found = "a day" if is_hidden else f"{filled[0]!r}, {' or '.join(both)}"
    what = (
        "can be read in two ways"
        if len(fitting) > 1
        else f"can be read {_READINGS[fitting[0]]} alone, but not by itself"
    )
    raise InvalidInput(
        f"column {column.name} {what}: {found}",
        field=column.name,
        value=None if is_hidden else filled[0],
        rule="a moment is read in one way, which ISO 8601 or its declaration says",
        next_step=f"say which, such as source.csv(..., dates={fitting[0]!r}), or moments= where a time of day follows",
    )
