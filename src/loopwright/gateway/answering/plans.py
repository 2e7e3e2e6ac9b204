"""Feature plans at work: rows of JSON become the typed rows that ``features.serve_features`` answers.

This module needs Polars, so it is loaded as a plugin and only when a release has a plan.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from loopwright.features import (
    MISSING,
    BoundView,
    FeaturePlan,
    bind_views,
    online,
    plan_inputs,
    request_runner,
    serve_features,
    typed_frame,
)
from loopwright.gateway.answering.inputs import Columns, Missing, Row, RowKey, RowKeys, absent_field
from loopwright.gateway.answering.lookups import Found
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput

_MOST_NAMED = 10


class FeatureReader:
    """Computes a plan's features for requests.

    Args:
        plan: What to compute.
        project: Whose online rows to read.
        load: Returns the user function a code ref names.
        store: The online store.
    """

    def __init__(
        self, plan: FeaturePlan, project: str, load: Callable[[CodeRef], Callable[..., Any]], store: online.OnlineStore
    ) -> None:
        self.fields = plan_inputs(plan)
        self._plan = plan
        self._views = bind_views(plan, project)
        self._store = store
        self._keys, self._has_own = RowKeys(RowKey.of(plan)), any(view.is_own for view in self._views)
        functions = {request.name: load(request.function) for request in plan.requests}
        by_code = {request.function.function_digest: functions[request.name] for request in plan.requests}
        self._run = request_runner(lambda code: by_code[code.function_digest])
        spine = plan.datasets[0] if plan.datasets else None
        known = {plan.time: "Datetime(us, UTC)", **(spine.dtypes if spine else {})}
        self._dtypes = {name: known[name] for name in self.fields if name in known}
        self._zone = spine.zone if spine else None

    def neutral_row(self) -> Row:
        """Return a request that means nothing, with a value of the right kind in every field."""
        return {name: _neutral(self._dtypes.get(name, "String")) for name in self.fields}

    def read(self, rows: Sequence[Row], at_us: Sequence[int]) -> tuple[Columns, Missing]:
        """Return the plan's columns and why values are missing.

        Raises:
            InvalidInput: A row lacks a field or holds a value of another kind.
            StepFailed: The user's function raised, or answered something else than it declares.
        """
        keys = self._keys.read(rows) if self._has_own else None
        served = serve_features(
            self._plan, self._views, self._store, self._typed(rows, self.fields), at_us, self._run, keys
        )
        return _columns_of(served), _missing_of(served)

    def look_up(self, rows: Sequence[Row], at_us: Sequence[int]) -> Found:
        """Return the features that can be computed of what rows carry, and how old they are.

        A view whose key no row carries, and a function of which no row carries an input, is left out.

        Raises:
            InvalidInput: No row carries anything that features are looked up by, a row lacks what another has, or a
                value is of another kind.
            StepFailed: The user's function raised, or answered something else than it declares.
        """
        carried = {name for row in rows for name in row}
        plan, views, left_out = self._of_fields(carried)
        if not plan.columns:
            raise InvalidInput(
                "this row names nothing that features are looked up by",
                field="rows[0]",
                value=", ".join(sorted(rows[0])[:_MOST_NAMED]),
                rule=f"what predictions carry: {', '.join(self.fields)}",
                next_step="name at least one key; what else there is of it is left out",
            )
        keys = self._keys.read(rows) if any(view.is_own for view in views) else None
        typed = self._typed(rows, plan_inputs(plan))
        served = serve_features(plan, views, self._store, typed, at_us, self._run, keys, is_dated=True)
        return Found(_columns_of(served), _missing_of(served), _ages_of(served, at_us), left_out)

    def _of_fields(self, carried: set[str]) -> tuple[FeaturePlan, list[BoundView], dict[str, str]]:
        """Return the part of the plan that reads these fields alone, and why its other features are left out."""
        left_out: dict[str, str] = {}
        for request in self._plan.requests:
            absent = [name for name in request.inputs if name not in carried]
            if absent:
                left_out.update(dict.fromkeys(request.outputs, f"no row carries {', '.join(absent)}"))
        for view in self._views:
            if view.view.entity not in carried:
                left_out.update(dict.fromkeys(view.names.values(), f"no row carries {view.view.entity}"))
        views = [view for view in self._views if view.view.entity in carried]
        plan = msgspec.structs.replace(
            self._plan,
            requests=[request for request in self._plan.requests if carried.issuperset(request.inputs)],
            views=[view.view for view in views],
            columns=[name for name in self._plan.columns if name not in left_out],
        )
        return plan, views, left_out

    def _typed(self, rows: Sequence[Row], fields: Sequence[str]) -> pl.DataFrame:
        try:
            asked = [{name: row[name] for name in fields} for row in rows]
        except KeyError:
            place, name = next((i, name) for i, row in enumerate(rows) for name in fields if name not in row)
            raise absent_field(place, name) from None
        return typed_frame(asked, self._dtypes, zone=self._zone)


def _columns_of(served: online.Lookup) -> dict[str, Sequence[Any]]:
    return {
        name: values.tolist() if isinstance(values, np.ndarray) else values for name, values in served.columns.items()
    }


def _missing_of(served: online.Lookup) -> Missing:
    missing: Missing = {}
    for name, reasons in served.reasons.items():
        for row in np.flatnonzero(reasons).tolist():
            missing.setdefault(row, {})[name] = MISSING[reasons[row]]
    return missing


def _ages_of(served: online.Lookup, at_us: Sequence[int]) -> dict[str, Sequence[int | None]]:
    """Return how long before its moment each value's row happened, microseconds; None where there is no row."""
    return {
        name: [at - happened if happened <= at else None for at, happened in zip(at_us, column.tolist(), strict=True)]
        for name, column in (served.event_at or {}).items()
    }


def _neutral(dtype: str) -> Any:
    if dtype.startswith("Datetime"):
        return "2000-01-01T00:00:00Z"
    kind = getattr(pl, dtype.partition("(")[0], pl.String)
    if kind == pl.Boolean:
        return False
    if kind.is_numeric():
        return 0
    return "" if kind in (pl.String, pl.Categorical, pl.Enum) else None
