"""Tallies of answers on frames."""

import polars as pl

from loopwright.monitoring.tallies import COUNTED_COLUMNS, tally_rows
from loopwright.serving.predictions import PREDICTION_SCHEMA
from loopwright.store.streams import OTHER_ROW_FAILED


def test_a_row_that_got_no_answer_is_an_error_whoever_is_to_blame() -> None:
    errors = ["ValueError: below zero", OTHER_ROW_FAILED, None]
    known = {"variant": "champion", "is_shadow": False, "latency_us": 1000, "error": errors}
    rows = pl.DataFrame(known).with_columns(
        pl.lit(None, PREDICTION_SCHEMA[name]).alias(name) for name in COUNTED_COLUMNS if name not in known
    )
    tally = tally_rows(rows, None)
    assert (tally.served, tally.errors) == (3, 2)
