"""How long rows of streams are kept: reading what somebody declares. Pure."""

from typing import Literal, get_args

from loopwright.kernel.clock import DAY_US, parse_duration
from loopwright.kernel.errors import InvalidInput
from loopwright.store.types import Retention

Kind = Literal["predictions", "labels", "pushes", "points"]
"""Rows of a deployment's log, rows pushed to a dataset, and points of the metrics of an experiment's runs."""
KINDS: tuple[str, ...] = get_args(Kind)


def check_declared(declared: Retention, field: str) -> None:
    """Let a declaration pass that ``retention.set`` would take.

    Raises:
        InvalidInput: Its kind is not known, or its time shorter than a day.
    """
    if declared.kind not in KINDS:
        rule = f"one of {', '.join(KINDS)}"
        raise InvalidInput("no rows of this kind are kept", field=field, value=declared.kind, rule=rule)
    if declared.keep_us is not None and declared.keep_us < DAY_US:
        raise InvalidInput("rows are kept for a day at least", field=field, value=declared.keep_us, rule="1d or more")


def read_keep(keep: str, field: str) -> int | None:
    """Return how long is meant, microseconds; None for ever.

    Raises:
        InvalidInput: It is no duration, or shorter than a day.
    """
    keep_us = None if keep == "forever" else parse_duration(keep, field)
    if keep_us is not None and keep_us < DAY_US:
        raise InvalidInput("rows are kept for a day at least", field=field, value=keep, rule="1d or more, or forever")
    return keep_us
