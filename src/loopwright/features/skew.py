"""The skew audit: served features against the point-in-time result from the datasets, bit for bit."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.data import KnownAt, layers, row_keys
from loopwright.features.columns import moments
from loopwright.features.join import compute_features
from loopwright.features.meanings import plan_inputs
from loopwright.features.requests import RunRequest
from loopwright.features.skew_causes import FeatureSkew, explain, spread
from loopwright.features.types import DatasetPushSpec, FeaturePlan
from loopwright.features.views import check_columns
from loopwright.kernel.errors import InvalidInput

_MOST_TRIED = 200
_NEVER = 1 << 62
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
    """Rows checked and unequal, unequal values by column, and the first differences; ``features`` say why.

    ``unmatched_rows`` were left out: the dataset has no row of their key.
    """

    rows: int
    unequal_rows: int
    unmatched_rows: int
    columns: dict[str, int]
    first: list[Difference]
    features: list[FeatureSkew] = []


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
    causes = _causes(plan, scans, kept, computed.columns, is_unequal, unequal, run_requests) if unequal else []
    return SkewReport(kept.height, int(is_unequal.sum()), served.height - kept.height, unequal, first[:most], causes)


def _causes(
    plan: FeaturePlan,
    scans: Mapping[str, pl.LazyFrame],
    kept: pl.DataFrame,
    computed: Mapping[str, pl.Series],
    is_unequal: NDArray[np.bool_],
    counts: Mapping[str, int],
    run_requests: RunRequest,
) -> list[FeatureSkew]:
    """Return why features are unequal, tried on some of the rows that are."""
    some = spread(np.flatnonzero(is_unequal), _MOST_TRIED)
    rows = kept[some]
    keys = rows["row_key"] if "row_key" in rows.columns else None

    def compute(later_us: int, moved_us: int) -> Mapping[str, pl.Series]:
        at_us = rows["event_at"].to_numpy() + moved_us
        return compute_features(*_known_later(plan, scans, later_us), rows, at_us, run_requests, keys).columns

    few: dict[int, Mapping[str, pl.LazyFrame]] = {}

    def compute_row(row: int, until_us: int) -> Mapping[str, pl.Series]:
        one, own = rows[[row]], None if keys is None else keys[[row]]
        at_us = one["event_at"].to_numpy()
        near = few[row] = few.get(row) or _of_entities(plan, scans, one)
        known = {name: _known_until(dataset_of[name], near[name], until_us) for name in near}
        return compute_features(plan, known, one, at_us, run_requests, own).columns

    dataset_of = {dataset.name: dataset for dataset in plan.datasets}
    served = {name: rows[PREFIX + name] for name in counts}
    tried = {name: count for name, count in counts.items() if _differs(served[name], computed[name][some]).any()}
    right = {name: computed[name][some] for name in tried}
    at_us = rows["event_at"].to_numpy()
    return explain(plan, served, right, _differs, tried, compute, compute_row, at_us)


def _known_later(
    plan: FeaturePlan, scans: Mapping[str, pl.LazyFrame], by_us: int
) -> tuple[FeaturePlan, Mapping[str, pl.LazyFrame]]:
    """Return plan and rows as if every value had become known so much later, or earlier where it is below zero."""
    datasets = [_dataset_known_later(dataset, by_us) for dataset in plan.datasets]
    moved = {name: rows.with_columns(pl.col(_stamps(rows)) + by_us) for name, rows in scans.items()}
    return msgspec.structs.replace(plan, datasets=datasets), moved


def _dataset_known_later(dataset: DatasetPushSpec, by_us: int) -> DatasetPushSpec:
    declared = {"*": KnownAt(dataset.time), **dataset.known_at} if dataset.time else dataset.known_at
    known_at = {name: KnownAt(known.column, known.after_us + by_us) for name, known in declared.items()}
    return msgspec.structs.replace(dataset, known_at=known_at)


def _of_entities(plan: FeaturePlan, scans: Mapping[str, pl.LazyFrame], one: pl.DataFrame) -> dict[str, pl.LazyFrame]:
    """Return the rows that views may look at for one request, in memory."""
    found = {}
    for dataset in plan.datasets:
        entities = {view.entity for view in plan.views if view.dataset == dataset.name}
        if entities:
            asked = [pl.col(name).cast(pl.String).eq_missing(pl.lit(str(one[name][0]))) for name in entities]
            found[dataset.name] = scans[dataset.name].filter(pl.any_horizontal(asked)).collect().lazy()
    return found


def _known_until(dataset: DatasetPushSpec, rows: pl.LazyFrame, until_us: int) -> pl.LazyFrame:
    """Return rows in which nothing is known that became known after a moment."""
    if not dataset.time:
        return rows
    there = rows.collect_schema().names()
    declared = {"*": KnownAt(dataset.time), **dataset.known_at}
    for known in declared.values():
        is_told = pl.col(known.column).cast(pl.Int64) + known.after_us <= until_us
        if known.column == dataset.time:
            rows = rows.filter(is_told) if known == declared["*"] else rows
        elif known.column in there:
            rows = rows.with_columns(pl.when(is_told).then(known.column))
    known_at = [name for name in _stamps(rows) if layers.is_known(name)]
    ended = [name for name in _stamps(rows) if name not in known_at]
    return rows.with_columns(
        *(pl.when(pl.col(name) > until_us).then(_NEVER).otherwise(name).alias(name) for name in known_at),
        *(pl.when(pl.col(name) <= until_us).then(name) for name in ended),
    )


def _stamps(rows: pl.LazyFrame) -> list[str]:
    """Return the columns of stages that tell when values became known and when others took their place."""
    return [name for name in rows.collect_schema().names() if layers.is_moment(name)]


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
