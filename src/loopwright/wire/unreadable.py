"""What Polars raises over files that it cannot read."""

import polars as pl

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""A panic, which is no ``Exception``, over some that were cut or changed."""
