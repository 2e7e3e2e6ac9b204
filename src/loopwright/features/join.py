"""The point-in-time join: the features of every row of a dataset as they could have been served at its moment."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.data import known, layers, row_keys
from loopwright.features.aggregates import finish, sum_windows
from loopwright.features.columns import MOMENT, as_feature, entities, moments
from loopwright.features.meanings import is_own, plan_inputs, used_columns, view_names, window_name
from loopwright.features.pointintime import FOUND, NOT_FOUND, Ints, Owned, latest_known
from loopwright.features.requests import RunRequest, request_features
from loopwright.features.rows import CandidateRows, DatasetRows, aggregate_rows, candidate_rows, identities
from loopwright.features.types import (
    AggregateViewSpec,
    ColumnViewSpec,
    DatasetPushSpec,
    FeaturePlan,
    LabelSpec,
    ViewSpec,
)
from loopwright.features.views import check_columns
from loopwright.kernel.errors import InvalidInput

_WHOLE = {pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32()}
_DENSE = 16
"""Entities that are whole numbers are codes as they are, if they leave no more than so many free for each row."""

Scans = Mapping[str, pl.LazyFrame]


class BuiltTrainingSet(NamedTuple):
    """``frame`` with ``row_id, event_at, label, <features>`` by (event_at, row_id); and how many rows had no label."""

    frame: pl.DataFrame
    unlabelled_rows: int


class FeatureColumns(NamedTuple):
    """Features by name, Float64 or String (n,), null where missing; and why, as places in ``types.MISSING``."""

    columns: dict[str, pl.Series]
    reasons: dict[str, NDArray[np.uint8]]


def build_training_set(
    plan: FeaturePlan,
    scans: Scans,
    *,
    start_at: int | None,
    end_at: int,
    known_by: int,
    run_requests: RunRequest,
) -> BuiltTrainingSet:
    """Join a service's features to the rows of its label's dataset, each at its own moment.

    Args:
        plan: What to compute.
        scans: Dataset -> its rows at the chosen version.
        start_at: First event time, microseconds UTC; None for all.
        end_at: First event time that is out.
        known_by: Labels that became known later are left out.
        run_requests: Calls on-request functions, once for all rows.

    Raises:
        InvalidInput: The plan has no label, or a column is missing.
    """
    if plan.label is None:
        raise InvalidInput("this service has no label", field="label", value=plan.service)
    label = plan.label
    dataset = _dataset(plan, label.dataset)
    moment = known.known_moment(dataset, label.column)
    wanted = [*plan.key, plan.time, label.column, *plan_inputs(plan), moment.column]
    frame = _collect(scans, dataset, wanted, start_at, end_at - 1)
    spine, unlabelled_rows = _labelled(DatasetRows(dataset, frame), label, known_by)
    spine = _as_asked(spine, frame, dataset, plan_inputs(plan))
    features = compute_features(plan, scans, spine, spine["event_at"].to_numpy(), run_requests, spine["row_id"])
    columns = [features.columns[name] for name in plan.columns]
    return BuiltTrainingSet(spine.select("row_id", "event_at", "label").hstack(columns), unlabelled_rows)


def _labelled(rows: DatasetRows, label: LabelSpec, known_by: int) -> tuple[pl.DataFrame, int]:
    """Return one row per key whose label was known in time, the last known of each, and how many keys have none."""
    frame = rows.frame.with_columns(
        row_keys.row_ids(rows.frame, rows.dataset.key),
        pl.Series("event_at", rows.event_at),
        as_feature(rows.frame[label.column], f"{label.dataset}.{label.column}").alias("label"),
        pl.Series("label_known_at", rows.known_at(label.column)),
    )
    keys = frame["row_id"].n_unique()
    frame = frame.filter(pl.col("label_known_at") <= known_by)
    if layers.STAGE in frame.columns:  # what was said last counts, also that nothing is known after all
        frame = frame.sort("label_known_at", layers.STAGE, maintain_order=True)
        frame = frame.unique("row_id", keep="last", maintain_order=True)
    frame = frame.filter(pl.col("label").is_not_null())
    if frame["row_id"].is_duplicated().any():
        # Of two labels of one key that came at once the last by content counts, whatever order the fragments are in.
        order = pl.Series("order", row_keys.row_ids(frame, ["label_known_at", "event_at", "label"]))
        frame = frame.with_columns(order).sort("label_known_at", "event_at", "order")
        frame = frame.unique("row_id", keep="last", maintain_order=True).drop("order")
    return frame.sort("event_at", "row_id"), keys - frame.height


def _as_asked(spine: pl.DataFrame, frame: pl.DataFrame, dataset: DatasetPushSpec, inputs: list[str]) -> pl.DataFrame:
    """Return rows with their inputs as they were at their own moments, whatever came or was corrected later.

    Args:
        spine: One row a key.
        frame: Every stage of the rows.
        dataset: Whose rows they are.
        inputs: What a request carries.
    """
    changing = [name for name in inputs if layers.KNOWN + name in frame.columns]
    if not changing:
        return spine
    stages = frame.with_columns(
        row_keys.row_ids(frame, dataset.key), pl.Series("event_at", moments(frame[dataset.time], dataset.time))
    )
    for name in changing:
        came = pl.col(layers.KNOWN + name)
        seen = stages.filter(came.is_null() | (came <= pl.col("event_at"))).sort(layers.STAGE, maintain_order=True)
        first = seen.unique("row_id", keep="last").select("row_id", name)
        spine = spine.drop(name).join(first, on="row_id", how="left", maintain_order="left")
    return spine


def compute_features(
    plan: FeaturePlan,
    scans: Scans,
    spine: pl.DataFrame,
    at_us: Ints,
    run_requests: RunRequest,
    keys: pl.Series | None = None,
) -> FeatureColumns:
    """Compute a plan's features for rows as they could have been served at their moments.

    Args:
        plan: What to compute.
        scans: Dataset -> its rows.
        spine: The rows; holds the functions' inputs and the views' entities.
        at_us: int64 (n,), the moment of each row, microseconds UTC.
        run_requests: Calls on-request functions.
        keys: String (n,), keys of the rows as ``row_keys`` writes them, null where one names no row; a row does not
            count in its own features.
    """
    has_own = keys is not None and any(is_own(plan, view) for view in plan.views)
    asked_rows = identities(keys.to_list()) if keys is not None and has_own else None
    check_columns(plan_inputs(plan), spine.columns, "the rows", "rows")
    features = FeatureColumns({}, {})
    for request in plan.requests if spine.height else []:
        for column in request_features(request, spine, run_requests):
            features.columns[column.name] = column
            features.reasons[column.name] = np.full(spine.height, FOUND, np.uint8)
    named = list(zip(plan.views, view_names(plan.requests, plan.views), strict=True))
    for dataset in plan.datasets:
        views = [(view, names) for view, names in named if view.dataset == dataset.name]
        if not views or spine.height == 0:
            continue
        rows = _view_dataset_rows(scans, dataset, [view for view, _ in views], at_us)
        for view, names in views:
            asked = spine[view.entity]
            own = asked_rows if asked_rows is not None and is_own(plan, view) else None
            if isinstance(view, AggregateViewSpec):
                _add_aggregates(view, names, rows, asked, at_us, own, features)
            else:
                _add_latest(view, names, rows, asked, at_us, own, features)
    for name in plan.columns:
        features.columns.setdefault(name, pl.Series(name, [], pl.Float64))
    return features


def _add_aggregates(
    view: AggregateViewSpec,
    names: dict[str, str],
    rows: DatasetRows,
    asked: pl.Series,
    at_us: Ints,
    own: Ints | None,
    features: FeatureColumns,
) -> None:
    counted = aggregate_rows(view, rows, is_stored=own is not None)
    entity, asked_entity = entity_codes(counted.entity, entities(asked, view.entity), view.entity)
    has_no_entity = asked.is_null().to_numpy()
    sums = {}
    for column in counted.columns:
        codes, identity, partials = counted.partials(column, entity)
        owned = None if own is None else Owned(identity, own)
        sums[column] = sum_windows(codes, partials, asked_entity, at_us, view.windows_us, owned)
    for aggregate in view.aggregates:
        for window, window_us in enumerate(view.windows_us):
            name = names[window_name(aggregate.name, window_us)]
            values = finish(aggregate.function, sums[aggregate.column], window)
            # Of an entity without rows nothing happened, which counts 0; without an entity nobody knows what to count.
            values[has_no_entity] = np.nan
            features.columns[name] = pl.Series(name, values).fill_nan(None)
            features.reasons[name] = np.where(np.isnan(values), NOT_FOUND, FOUND).astype(np.uint8)


def _add_latest(
    view: ColumnViewSpec,
    names: dict[str, str],
    rows: DatasetRows,
    asked: pl.Series,
    at_us: Ints,
    own: Ints | None,
    features: FeatureColumns,
) -> None:
    candidates = candidate_rows(view, rows)
    entity, asked_entity = entity_codes(candidates.entity, asked, f"{view.dataset}.{view.entity}")
    owned = None if own is None else Owned(candidates.identity(), own)
    # The search costs most; columns that are known at the same moments share one array, and so its winners.
    alike: dict[int, list[str]] = {}
    for column in view.columns:
        alike.setdefault(id(candidates.known_at[column]), []).append(column)
    for columns in alike.values():
        won, reasons = latest_known(
            entity,
            candidates.event_at,
            candidates.known_at[columns[0]],
            candidates.ties,
            asked_entity,
            at_us,
            view.ttl_us,
            owned,
        )
        values = candidates.frame.select(columns)[np.maximum(won, 0)] if candidates.frame.height else None
        for column in columns:
            name = names[column]
            features.columns[name] = _features_of(column, candidates, values, won).alias(name)
            features.reasons[name] = reasons


def _features_of(column: str, rows: CandidateRows, values: pl.DataFrame | None, won: Ints) -> pl.Series:
    """Return the values of the rows that won, null where none did."""
    field = f"{rows.dataset.name}.{column}"
    if values is None:
        return as_feature(rows.frame[column], field).extend_constant(None, len(won))
    found = as_feature(values[column], field)
    return found if (won >= 0).all() else found.set(pl.Series(won < 0), None)


def entity_codes(rows: pl.Series, asked: pl.Series, field: str) -> tuple[Ints, Ints]:
    """Return codes of the rows' and the asked entities, int64; -1 for null and for those no row has.

    Args:
        rows: Entities of the rows, texts or whole numbers.
        asked: Asked entities.
        field: Names the former in errors.
    """
    if {rows.dtype, asked.dtype} <= _WHOLE and len(rows) and not rows.null_count():
        codes, questions = rows.cast(pl.Int64).to_numpy(), asked.cast(pl.Int64).fill_null(0).to_numpy()
        low, high = int(codes.min()), int(codes.max())
        if high - low < _DENSE * len(rows):  # numbers that lie close are codes already
            is_outside = (questions < low) | (questions > high) | asked.is_null().to_numpy()
            return codes - low, np.where(is_outside, -1, questions - low)
    texts, wanted = entities(rows, field), entities(asked, field)
    known = texts.unique().drop_nulls()
    kind = pl.Enum(known)
    codes = texts.cast(kind).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    return codes, wanted.cast(kind, strict=False).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _view_dataset_rows(scans: Scans, dataset: DatasetPushSpec, views: list[ViewSpec], at_us: Ints) -> DatasetRows:
    """Return the rows that views of a dataset may need: a year of which one day is asked is not read whole."""
    columns = [*dataset.key, dataset.time]
    for view in views:
        used = used_columns(view)
        columns += [view.entity, *used, *(known.known_moment(dataset, column).column for column in used)]
    aggregates = [view for view in views if isinstance(view, AggregateViewSpec)]
    if any(view.counts == "known" for view in aggregates):
        # What became known lately may have happened at any time, so event times bound nothing.
        return DatasetRows(dataset, _collect(scans, dataset, columns, None, None))
    longest = max((max(view.windows_us) for view in aggregates), default=0)
    # A latest value may be as old as it likes: where a view asks for one, all rows before are needed.
    low = int(at_us.min()) - longest if len(aggregates) == len(views) else None
    return DatasetRows(dataset, _collect(scans, dataset, columns, low, int(at_us.max())))


def _collect(
    scans: Scans, dataset: DatasetPushSpec, columns: list[str], low: int | None, high: int | None
) -> pl.DataFrame:
    """Read the columns of a dataset's rows with event time in ``[low, high]``."""
    if dataset.name not in scans:
        raise InvalidInput(
            f"no version of dataset {dataset.name} was given", field="dataset_versions", value=dataset.name
        )
    scan = scans[dataset.name]
    schema = scan.collect_schema()
    names = list(dict.fromkeys(columns))
    check_columns(names, schema.names(), f"dataset {dataset.name}", "columns")
    time = pl.col(dataset.time)
    if isinstance(schema[dataset.time], pl.Datetime):
        moments(pl.Series([], dtype=schema[dataset.time]), f"{dataset.name}.{dataset.time}")
        bounds = [None if at is None else pl.lit(at).cast(MOMENT) for at in (low, high)]
    else:
        bounds = [None if at is None else pl.lit(at) for at in (low, high)]
    chosen = scan.filter(time <= bounds[1]) if bounds[1] is not None else scan
    chosen = chosen if bounds[0] is None else chosen.filter(time >= bounds[0])
    return chosen.select([*names, *layers.hidden(names, schema.names())]).collect()


def _dataset(plan: FeaturePlan, name: str) -> DatasetPushSpec:
    return next(dataset for dataset in plan.datasets if dataset.name == name)
