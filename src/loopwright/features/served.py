"""Served features: a plan's columns for a few requests now, by the very rule that builds training sets.

This is what gateways call. That it agrees with ``join.compute_features`` to the bit, values and reasons, is the promise
of no skew, and a property test holds it to that.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from loopwright.features.columns import entities
from loopwright.features.meanings import plan_inputs
from loopwright.features.online.base import Lookup, OnlineStore
from loopwright.features.pointintime import FOUND, NEVER, Ints
from loopwright.features.requests import RunRequest, request_features
from loopwright.features.rows import identities
from loopwright.features.types import BoundView, FeaturePlan
from loopwright.features.views import check_columns


def serve_features(
    plan: FeaturePlan,
    views: Sequence[BoundView],
    store: OnlineStore,
    rows: pl.DataFrame,
    at_us: Ints | Sequence[int],
    run_requests: RunRequest,
    keys: Sequence[str | None] | None = None,
    *,
    is_dated: bool = False,
) -> Lookup:
    """Return a plan's features for a batch of requests, equal to the bit to what a training set holds for them.

    Args:
        plan: What to compute.
        views: ``bind_views(plan, project)``, kept by the caller.
        store: The online store.
        rows: One row a request, typed by ``columns.typed_frame``; holds ``plan_inputs(plan)``.
        at_us: int64 (n,), the moment of each request, microseconds UTC.
        run_requests: Calls on-request functions, once for the batch.
        keys: Keys of the rows that the requests are, as ``row_keys`` writes them; None where one names none.
        is_dated: Say too when the row behind each looked up value happened.

    Raises:
        InvalidInput: The rows lack an input, or an entity is neither text nor a whole number.
        StepFailed: An on-request function raised, or answered something else than it declares.
    """
    check_columns(plan_inputs(plan), rows.columns, "the request", "rows")
    served = Lookup({}, {}, {} if is_dated else None)
    undated = np.full(rows.height, NEVER, np.int64)
    # What a function leaves empty was computed and is so; only a lookup can miss what is there.
    is_computed = np.full(rows.height, FOUND, np.uint8)
    for request in plan.requests:
        for column in request_features(request, rows, run_requests):
            served.columns[column.name] = column.to_list() if column.dtype == pl.String else column.to_numpy()
            served.reasons[column.name] = is_computed
            if served.event_at is not None:
                served.event_at[column.name] = undated
    asked = {name: entities(rows[name], f"rows.{name}").to_list() for name in {view.view.entity for view in views}}
    is_named = keys is not None and any(view.is_own for view in views)
    own = identities(keys) if keys is not None and is_named else None
    looked_up = store.lookup(views, asked, at_us, own, is_dated=is_dated)
    served.columns.update(looked_up.columns)
    served.reasons.update(looked_up.reasons)
    if served.event_at is not None and looked_up.event_at is not None:
        served.event_at.update(looked_up.event_at)
    return served.only(plan.columns)
