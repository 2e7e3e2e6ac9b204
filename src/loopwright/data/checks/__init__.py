"""Checks: data-quality assertions, one plugin a file, each compiled to Polars expressions; none loads Polars."""

from loopwright.data.checks.base import AggregateCheck, Check, RowCheck, check_args, open_check

__all__ = ["AggregateCheck", "Check", "RowCheck", "check_args", "open_check"]
