"""Features without skew: views, aggregates, on-request functions, services, training sets, the online store.

The modules that compute (``frames``, ``jobs``, ``requests``, ``skew``, ``training``) load Polars and are imported where
they are used: ``from loopwright.features import training``.
"""

from typing import TYPE_CHECKING

from loopwright.features import materialize, online, plans, trainingsets, views
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
    RequestSpec,
    ServiceSpec,
    TrainingSetSpec,
    TrainingSetVersion,
    ViewSpec,
)
from loopwright.features.views import declare_request, declare_service, declare_view, get, list_definitions

if TYPE_CHECKING:
    from loopwright.features import frames, jobs, requests, skew, training

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
    "RequestSpec",
    "ServiceSpec",
    "TrainingSetSpec",
    "TrainingSetVersion",
    "ViewSpec",
    "bind_views",
    "declare_request",
    "declare_service",
    "declare_view",
    "finish_materialize",
    "frames",
    "freeze_plan",
    "get",
    "jobs",
    "list_definitions",
    "materializations",
    "materialize",
    "online",
    "plan",
    "plan_inputs",
    "plans",
    "record_training_set",
    "requests",
    "rows_used",
    "skew",
    "start_materialize",
    "training",
    "training_set",
    "training_sets",
    "trainingsets",
    "view_key",
    "views",
]
