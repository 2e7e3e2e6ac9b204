"""Features without skew: views, aggregates, on-request functions, services, training sets, the online store.

What computes (the modules ``columns``, ``jobs``, ``requests``, ``skew``, and the names here of these, ``join``,
``served`` and ``training_rows``) loads Polars, so it is imported only when somebody asks for it.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.features import columns, jobs, materialize, online, plans, requests, skew, training_sets, views
    from loopwright.features.columns import dtype_of, is_other_kind, typed_frame
    from loopwright.features.events import (
        Materialized,
        MaterializeStarted,
        PlanFrozen,
        RequestDeclared,
        ServiceDeclared,
        TrainingSetRecorded,
        ViewDeclared,
    )
    from loopwright.features.freezing import cut_training_set, freeze_training_set
    from loopwright.features.join import build_training_set
    from loopwright.features.materialize import (
        declared_views,
        filled_since,
        finish_materialize,
        forget_fills,
        materializations,
        start_materialize,
    )
    from loopwright.features.meanings import (
        bind_views,
        plan_columns,
        plan_inputs,
        used_columns,
        view_key,
        view_names,
    )
    from loopwright.features.plans import freeze_plan, plan
    from loopwright.features.pushed import as_sent
    from loopwright.features.requests import RunRequest, request_runner
    from loopwright.features.served import serve_features
    from loopwright.features.skew import SkewReport, compare_served
    from loopwright.features.skew_causes import tell_skew
    from loopwright.features.training_rows import TrainingSet
    from loopwright.features.training_sets import list_training_sets, record_training_set, rows_used, training_set
    from loopwright.features.types import (
        MISSING,
        RIPE_SHARES,
        Aggregate,
        AggregateViewSpec,
        BoundView,
        ColumnViewSpec,
        DatasetPushSpec,
        Definition,
        FeaturePlan,
        LabelLag,
        LabelSpec,
        Materialization,
        MaterializeRequest,
        RequestSpec,
        ServiceSpec,
        TrainingSetSpec,
        TrainingSetVersion,
        ViewSpec,
    )
    from loopwright.features.views import declare_request, declare_service, declare_view, get, list_definitions

__getattr__ = later(__name__)

__all__ = [
    "MISSING",
    "RIPE_SHARES",
    "Aggregate",
    "AggregateViewSpec",
    "BoundView",
    "ColumnViewSpec",
    "DatasetPushSpec",
    "Definition",
    "FeaturePlan",
    "LabelLag",
    "LabelSpec",
    "Materialization",
    "MaterializeRequest",
    "MaterializeStarted",
    "Materialized",
    "PlanFrozen",
    "RequestDeclared",
    "RequestSpec",
    "RunRequest",
    "ServiceDeclared",
    "ServiceSpec",
    "SkewReport",
    "TrainingSet",
    "TrainingSetRecorded",
    "TrainingSetSpec",
    "TrainingSetVersion",
    "ViewDeclared",
    "ViewSpec",
    "as_sent",
    "bind_views",
    "build_training_set",
    "columns",
    "compare_served",
    "cut_training_set",
    "declare_request",
    "declare_service",
    "declare_view",
    "declared_views",
    "dtype_of",
    "filled_since",
    "finish_materialize",
    "forget_fills",
    "freeze_plan",
    "freeze_training_set",
    "get",
    "is_other_kind",
    "jobs",
    "list_definitions",
    "list_training_sets",
    "materializations",
    "materialize",
    "online",
    "plan",
    "plan_columns",
    "plan_inputs",
    "plans",
    "record_training_set",
    "request_runner",
    "requests",
    "rows_used",
    "serve_features",
    "skew",
    "start_materialize",
    "tell_skew",
    "training_set",
    "training_sets",
    "typed_frame",
    "used_columns",
    "view_key",
    "view_names",
    "views",
]
