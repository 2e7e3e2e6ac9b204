"""Features without skew: views, aggregates, on-request functions, services, training sets, the online store."""

from loopwright.features.types import (
    MISSING,
    Aggregate,
    AggregateViewSpec,
    ColumnViewSpec,
    DatasetPushSpec,
    FeaturePlan,
    LabelSpec,
    RequestSpec,
    ServiceSpec,
    TrainingSetSpec,
    TrainingSetVersion,
    ViewSpec,
)

__all__ = [
    "MISSING",
    "Aggregate",
    "AggregateViewSpec",
    "ColumnViewSpec",
    "DatasetPushSpec",
    "FeaturePlan",
    "LabelSpec",
    "RequestSpec",
    "ServiceSpec",
    "TrainingSetSpec",
    "TrainingSetVersion",
    "ViewSpec",
]
