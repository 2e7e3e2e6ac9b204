"""Feature plans at work: on-request functions and online lookups for a batch of requests.

This module needs Polars, so it is loaded as a plugin and only when a release has a plan.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from loopwright.features import MISSING, FeaturePlan, bind_views, frames, online, plan_inputs, requests
from loopwright.gateway.inputs import Columns, Missing, Row, absent_field
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput, StepFailed


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
        self._requests = plan.requests
        self._views = bind_views(plan, project)
        self._store = store
        functions = {request.name: load(request.function) for request in plan.requests}
        by_code = {request.function.function_digest: functions[request.name] for request in plan.requests}
        self._run = requests.request_runner(lambda code: by_code[code.function_digest])
        spine = plan.datasets[0] if plan.datasets else None
        known = {plan.time: "Datetime(us, UTC)", **(spine.dtypes if spine else {})}
        self._dtypes = {name: known[name] for name in self.fields if name in known}
        self._zone = spine.zone if spine else None

    def read(self, rows: Sequence[Row], at_us: Sequence[int]) -> tuple[Columns, Missing]:
        """Return the plan's columns and why values are missing.

        Raises:
            InvalidInput: A row lacks a field or holds a value of another kind.
            StepFailed: The user's function raised.
        """
        asked = self._typed(rows)
        columns: dict[str, Sequence[Any]] = {}
        missing: Missing = {}
        for request in self._requests:
            try:
                answer = self._run(request, asked)
            except InvalidInput as error:
                # The request was read already, so what is wrong is the function's answer and no fault of the caller.
                raise StepFailed(error.message, field=error.field) from error
            columns.update({name: answer.get_column(name).to_list() for name in request.outputs})
        names = {view.view.entity for view in self._views}
        entities = {name: frames.entities(asked.get_column(name), name).to_list() for name in names}
        found = self._store.lookup(self._views, entities, at_us)
        for name, values in found.columns.items():
            columns[name] = values.tolist() if isinstance(values, np.ndarray) else values
        for name, reasons in found.reasons.items():
            for row in np.flatnonzero(reasons).tolist():
                missing.setdefault(row, {})[name] = MISSING[reasons[row]]
        return columns, missing

    def _typed(self, rows: Sequence[Row]) -> pl.DataFrame:
        try:
            asked = [{name: row[name] for name in self.fields} for row in rows]
        except KeyError:
            place, name = next((i, name) for i, row in enumerate(rows) for name in self.fields if name not in row)
            raise absent_field(place, name) from None
        return frames.typed_frame(asked, self._dtypes, zone=self._zone)
