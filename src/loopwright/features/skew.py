"""The skew audit: served features against the point-in-time result from the datasets, bit for bit."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.data import row_keys
from loopwright.features.columns import moments
from loopwright.features.join import compute_features
from loopwright.features.plans import plan_inputs
from loopwright.features.requests import RunRequest
from loopwright.features.types import FeaturePlan
from loopwright.features.views import check_columns
from loopwright.kernel.errors import InvalidInput

PREFIX = "f."
"""How served features are named in the prediction log."""


class Difference(msgspec.Struct, frozen=True):
    """One value that was served otherwise than the datasets say."""

    row: int
    row_id: str
    event_at: int
    column: str
    served: float | str | None
    computed: float | str | None


class SkewReport(msgspec.Struct, frozen=True):
    """Rows checked and unequal, unequal values by column, and the first differences.

    ``unmatched_rows`` were left out: the dataset has no row of their key.
    """

    rows: int
    unequal_rows: int
    unmatched_rows: int
    columns: dict[str, int]
    first: list[Difference]


def compare_served(
    plan: FeaturePlan,
    scans: Mapping[str, pl.LazyFrame],
    served: pl.DataFrame,
    run_requests: RunRequest,
    *,
    unlogged: Collection[str] = (),
    most: int = 20,
) -> SkewReport:
    """Compute the features of served rows again and compare them bit for bit.

    Args:
        plan: The plan they were served by.
        scans: Dataset -> its rows, at a version that holds what was known then.
        served: ``event_at`` (moment or microseconds UTC), ``f.<feature>``, the plan's inputs, and ``row_key``, the key
            of the label's row that a request named: it does not count itself, and tells inputs that are not there.
        run_requests: Calls on-request functions.
        unlogged: Features that the log leaves out because they are personal; they are not compared.
        most: How many differences to list.
    """
    logged = [name for name in plan.columns if name not in unlogged]
    check_columns(["event_at", *(PREFIX + name for name in logged)], served.columns, "the served rows", "served")
    kept = _with_inputs(
        plan, scans, served.with_columns(pl.Series("event_at", moments(served["event_at"], "event_at")))
    )
    keys = kept["row_key"] if "row_key" in kept.columns else None
    computed = compute_features(plan, scans, kept, kept["event_at"].to_numpy(), run_requests, keys)
    is_unequal = np.zeros(kept.height, bool)
    counts, first = {}, []
    for name in logged:
        differs = _differs(kept[PREFIX + name], computed.columns[name])
        is_unequal |= differs
        counts[name] = int(differs.sum())
        for row in np.flatnonzero(differs)[:most].tolist():
            values: tuple[Any, Any] = (kept[PREFIX + name][row], computed.columns[name][row])
            row_id = str(kept["row_key"][row]) if "row_key" in kept.columns else ""
            first.append(Difference(row, row_id, int(kept["event_at"][row]), name, *values))
    first.sort(key=lambda difference: (difference.row, plan.columns.index(difference.column)))
    unequal = {name: count for name, count in counts.items() if count}
    return SkewReport(kept.height, int(is_unequal.sum()), served.height - kept.height, unequal, first[:most])


def _with_inputs(plan: FeaturePlan, scans: Mapping[str, pl.LazyFrame], served: pl.DataFrame) -> pl.DataFrame:
    """Return served rows with every input; missing ones come from the row of the label's dataset that has their key."""
    absent = [name for name in plan_inputs(plan) if name not in served.columns]
    if not absent:
        return served
    if plan.label is None or "row_key" not in served.columns:
        rule = "the plan's inputs, or row_key"
        raise InvalidInput("the served rows lack inputs", field="served", value=", ".join(absent), rule=rule)
    names = list(dict.fromkeys([*plan.key, *absent]))
    spine = scans[plan.label.dataset].select(names).collect()
    spine = spine.with_columns(row_keys.row_ids(spine, plan.key).alias("row_key")).unique("row_key", keep="last")
    return served.join(spine.select("row_key", *absent), on="row_key", how="inner", maintain_order="left")


def _differs(served: pl.Series, computed: pl.Series) -> NDArray[np.bool_]:
    if computed.dtype == pl.String or served.dtype == pl.String:
        return served.cast(pl.String).ne_missing(computed.cast(pl.String)).to_numpy()
    is_unequal: NDArray[np.bool_] = _bits(served) != _bits(computed)
    return is_unequal


def _bits(column: pl.Series) -> NDArray[np.int64]:
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy(writable=True)
    values[np.isnan(values)] = np.nan
    return values.view(np.int64)
