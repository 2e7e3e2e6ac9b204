"""Checks: data-quality assertions, one plugin a file, each compiled to Polars expressions; none loads Polars."""

from loopwright.data.checks.base import AggregateCheck, Check, RowCheck, check_args, open_check
from loopwright.data.checks.holds import Holds
from loopwright.data.checks.refers_to import RefersTo
from loopwright.data.checks.rules import lift_columns, lifted, read_rule, rule_expr
from loopwright.data.checks.usual import FALSE_ALARMS, LEAST, PAST, measured_as

__all__ = [
    "FALSE_ALARMS",
    "LEAST",
    "PAST",
    "AggregateCheck",
    "Check",
    "Holds",
    "RefersTo",
    "RowCheck",
    "check_args",
    "lift_columns",
    "lifted",
    "measured_as",
    "open_check",
    "read_rule",
    "rule_expr",
]
