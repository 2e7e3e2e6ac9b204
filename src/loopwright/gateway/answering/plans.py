"""Feature plans at work: rows of JSON become the typed rows that ``features.serve_features`` answers.

This module needs Polars, so it is loaded as a plugin and only when a release has a plan.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from loopwright.features import (
    MISSING,
    FeaturePlan,
    bind_views,
    online,
    plan_inputs,
    request_runner,
    serve_features,
    typed_frame,
)
from loopwright.gateway.answering.inputs import Columns, Missing, Row, RowKeys, absent_field
from loopwright.kernel.code import CodeRef


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
        self._keys, self._has_own = RowKeys(plan), any(view.is_own for view in self._views)
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
        served = serve_features(self._plan, self._views, self._store, self._typed(rows), at_us, self._run, keys)
        columns = {
            name: values.tolist() if isinstance(values, np.ndarray) else values
            for name, values in served.columns.items()
        }
        missing: Missing = {}
        for name, reasons in served.reasons.items():
            for row in np.flatnonzero(reasons).tolist():
                missing.setdefault(row, {})[name] = MISSING[reasons[row]]
        return columns, missing

    def _typed(self, rows: Sequence[Row]) -> pl.DataFrame:
        try:
            asked = [{name: row[name] for name in self.fields} for row in rows]
        except KeyError:
            place, name = next((i, name) for i, row in enumerate(rows) for name in self.fields if name not in row)
            raise absent_field(place, name) from None
        return typed_frame(asked, self._dtypes, zone=self._zone)


def _neutral(dtype: str) -> Any:
    if dtype.startswith("Datetime"):
        return "2000-01-01T00:00:00Z"
    kind = getattr(pl, dtype.partition("(")[0], pl.String)
    if kind == pl.Boolean:
        return False
    if kind.is_numeric():
        return 0
    return "" if kind in (pl.String, pl.Categorical, pl.Enum) else None
