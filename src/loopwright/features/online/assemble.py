"""A request's features: on-request functions and online views, in the plan's order."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from loopwright.features.frames import entities
from loopwright.features.online.base import Lookup, OnlineStore
from loopwright.features.plans import plan_inputs
from loopwright.features.pointintime import FOUND, NOT_FOUND, Ints
from loopwright.features.requests import RunRequest, check_answer
from loopwright.features.types import BoundView, FeaturePlan
from loopwright.features.views import check_columns


def serve_features(
    plan: FeaturePlan,
    views: Sequence[BoundView],
    store: OnlineStore,
    rows: pl.DataFrame,
    at_us: Ints,
    run_requests: RunRequest,
) -> Lookup:
    """Return a plan's features for a batch of requests, equal to the bit to what a training set holds for them.

    Args:
        plan: What to compute.
        views: ``bind_views(plan, project)``, kept by the caller.
        store: The online store.
        rows: One row a request, typed by ``frames.typed_frame``; holds ``plan_inputs(plan)``.
        at_us: int64 (n,), the moment of each request, microseconds UTC.
        run_requests: Calls on-request functions, once for the batch.

    Raises:
        InvalidInput: The rows lack an input.
        StepFailed: An on-request function raised.
    """
    check_columns(plan_inputs(plan), rows.columns, "the request", "rows")
    found = Lookup({}, {})
    for request in plan.requests:
        answer = run_requests(request, rows.select(request.inputs))
        for column in check_answer(request, answer, rows.height):
            is_text = column.dtype == pl.String
            values = column.to_list() if is_text else column.fill_null(float("nan")).to_numpy()
            found.columns[column.name] = values
            found.reasons[column.name] = np.where(column.is_null().to_numpy(), NOT_FOUND, FOUND).astype(np.uint8)
    asked = {name: entities(rows[name], f"rows.{name}").to_list() for name in {view.view.entity for view in views}}
    looked_up = store.lookup(views, asked, at_us)
    found.columns.update(looked_up.columns)
    found.reasons.update(looked_up.reasons)
    return Lookup(
        {name: found.columns[name] for name in plan.columns}, {name: found.reasons[name] for name in plan.columns}
    )
