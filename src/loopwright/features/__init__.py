"""Features without skew: views, aggregates, on-request functions, services, training sets, the online store.

What computes (the modules ``frames``, ``jobs``, ``requests``, ``skew``, ``training``, and their names here) loads
Polars, so it is imported only when somebody asks for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopwright.features import materialize, online, plans, trainingsets, views
from loopwright.features.events import (
    Materialized,
    MaterializeStarted,
    PlanFrozen,
    RequestDeclared,
    ServiceDeclared,
    TrainingSetRecorded,
    ViewDeclared,
)
from loopwright.features.materialize import finish_materialize, materializations, start_materialize
from loopwright.features.plans import bind_views, freeze_plan, plan, plan_inputs, view_key
from loopwright.features.trainingsets import record_training_set, rows_used, training_set, training_sets
from loopwright.features.types import (
    MISSING,
    Aggregate,
    AggregateViewSpec,
    BoundView,
    ColumnViewSpec,
    DatasetPushSpec,
    Definition,
    FeaturePlan,
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

if TYPE_CHECKING:
    from loopwright.features import frames, jobs, requests, skew, training
    from loopwright.features.frames import typed_frame
    from loopwright.features.jobs import (
        build_from_versions,
        cut_training_set,
        freeze_training_set,
        load_training_set,
    )
    from loopwright.features.online.assemble import serve_features
    from loopwright.features.requests import RunRequest, request_runner
    from loopwright.features.skew import SkewReport, compare_served
    from loopwright.features.training import TrainingSet, build_training_set

_LATER = {
    **dict.fromkeys(("build_from_versions", "cut_training_set", "freeze_training_set", "load_training_set"), "jobs"),
    **dict.fromkeys(("RunRequest", "request_runner"), "requests"),
    **dict.fromkeys(("SkewReport", "compare_served"), "skew"),
    **dict.fromkeys(("TrainingSet", "build_training_set"), "training"),
    "serve_features": "online.assemble",
    "typed_frame": "frames",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


__all__ = [
    "MISSING",
    "Aggregate",
    "AggregateViewSpec",
    "BoundView",
    "ColumnViewSpec",
    "DatasetPushSpec",
    "Definition",
    "FeaturePlan",
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
    "bind_views",
    "build_from_versions",
    "build_training_set",
    "compare_served",
    "cut_training_set",
    "declare_request",
    "declare_service",
    "declare_view",
    "finish_materialize",
    "frames",
    "freeze_plan",
    "freeze_training_set",
    "get",
    "jobs",
    "list_definitions",
    "load_training_set",
    "materializations",
    "materialize",
    "online",
    "plan",
    "plan_inputs",
    "plans",
    "record_training_set",
    "request_runner",
    "requests",
    "rows_used",
    "serve_features",
    "skew",
    "start_materialize",
    "training",
    "training_set",
    "training_sets",
    "trainingsets",
    "typed_frame",
    "view_key",
    "views",
]
