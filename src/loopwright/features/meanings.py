"""What a plan means: the names of its features, the columns that it reads, the keys of its views. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from loopwright.features.types import (
    AggregateViewSpec,
    BoundView,
    ColumnViewSpec,
    DatasetPushSpec,
    FeaturePlan,
    RequestSpec,
)
from loopwright.kernel.clock import format_duration
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.errors import InvalidInput

ViewSpecs = Sequence[ColumnViewSpec | AggregateViewSpec]


def meaning_of(document: Any) -> Any:
    """Return a document without the names of its code blobs: an edit elsewhere does not change a function."""
    if isinstance(document, dict):
        is_code = "function_digest" in document
        return {name: meaning_of(value) for name, value in document.items() if not (is_code and name == "digest")}
    return [meaning_of(item) for item in document] if isinstance(document, list) else document


def plan_columns(requests: Sequence[RequestSpec], views: ViewSpecs) -> list[str]:
    """Return the features in order: the requests' outputs, then each view's.

    Raises:
        InvalidInput: Two of them have one name.
    """
    outputs = [(name, f"request {request.name}") for request in requests for name in request.outputs]
    for view, names in zip(views, view_names(requests, views), strict=True):
        outputs += [(name, f"view {view.name}") for name in names.values()]
    owners: dict[str, str] = {}
    for name, owner in outputs:
        if name in owners:
            raise InvalidInput(
                f"two features are named {name}: of {owners[name]} and of {owner}",
                field="views",
                value=name,
                rule="each feature of a service has a name of its own",
                next_step="rename an output or an aggregate",
            )
        owners[name] = owner
    return list(owners)


def view_names(requests: Sequence[RequestSpec], views: ViewSpecs) -> list[dict[str, str]]:
    """Return for each view its features: from the column, or the aggregate and window, to the plan's name."""
    counts = Counter(name for request in requests for name in request.outputs)
    for view in views:
        counts.update(view.columns if isinstance(view, ColumnViewSpec) else [])
    named = []
    for view in views:
        if isinstance(view, ColumnViewSpec):
            named.append({name: name if counts[name] == 1 else f"{view.name}_{name}" for name in view.columns})
        else:
            parts = [window_name(aggregate.name, window) for aggregate in view.aggregates for window in view.windows_us]
            named.append({part: f"{view.entity}_{part}" for part in parts})
    return named


def window_name(aggregate: str, window_us: int) -> str:
    """Return the name of an aggregate over a window within its view, such as ``late_share_3h``."""
    return f"{aggregate}_{format_duration(window_us)}"


def used_columns(view: ColumnViewSpec | AggregateViewSpec) -> list[str]:
    """Return the columns whose values a view reads, each once."""
    columns = view.columns if isinstance(view, ColumnViewSpec) else [aggregate.column for aggregate in view.aggregates]
    return list(dict.fromkeys(columns))


def plan_inputs(plan: FeaturePlan) -> list[str]:
    """Return the columns a request must carry: the functions' inputs and the views' entities."""
    inputs = [name for request in plan.requests for name in request.inputs]
    return list(dict.fromkeys([*inputs, *(view.entity for view in plan.views)]))


def bind_views(plan: FeaturePlan, project: str) -> list[BoundView]:
    """Return the plan's views with their keys in the online store, in order."""
    datasets = {dataset.name: dataset for dataset in plan.datasets}
    return [
        BoundView(
            view_key(project, view, datasets[view.dataset]), view, datasets[view.dataset], names, is_own(plan, view)
        )
        for view, names in zip(plan.views, view_names(plan.requests, plan.views), strict=True)
    ]


def is_own(plan: FeaturePlan, view: ColumnViewSpec | AggregateViewSpec) -> bool:
    """Say whether a request has a row of its own among those of a view, which it then leaves out.

    A dataset whose key is the view's entity has one row an entity, and who asks for it means that one.
    """
    return plan.label is not None and view.dataset == plan.label.dataset and plan.key != [view.entity]


def view_key(project: str, view: ColumnViewSpec | AggregateViewSpec, dataset: DatasetPushSpec) -> str:
    """Return the name of a view's rows in the online store: another meaning is another name."""
    rows = {"key": dataset.key, "time": dataset.time, "known_at": dataset.known_at, "transform": dataset.transform}
    meaning = meaning_of(to_builtins({"view": view, **rows}))
    return f"{project}/{view.name}@{digest_of(meaning)[:8]}"
