"""The training set as user code receives it."""

from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.kernel.errors import InvalidInput


class TrainingColumn(NamedTuple):
    """One feature of a training set; ``categories`` are the levels of a text column, sorted, in code order."""

    name: str
    kind: Literal["number", "category"]
    categories: list[str]


class TrainingSet:
    """Rows with features and label, in event time.

    Args:
        frame: ``row_id, event_at, label, <features>``; features are Float64 or String, null where missing.
        label: Name of the label.
        params: Parameters of the pipeline that trains.
        ref: Address of the frozen version, if it is one.
    """

    def __init__(self, frame: pl.DataFrame, *, label: str, params: dict[str, Any] | None = None, ref: str = "") -> None:
        self._frame = frame
        self.label = label
        self.params = dict(params or {})
        self.ref = ref
        self.columns = [name for name in frame.columns if name not in ("row_id", "event_at", "label")]

    def __len__(self) -> int:
        return self._frame.height

    def __repr__(self) -> str:
        name = self.ref or "not frozen"
        return f"TrainingSet({name}: {len(self)} rows, {len(self.columns)} features, label {self.label})"

    @cached_property
    def inputs(self) -> list[TrainingColumn]:
        """Name, kind and categories of each feature, in order."""
        columns = []
        for name in self.columns:
            is_text = self._frame.schema[name] == pl.String
            levels = self._frame[name].drop_nulls().unique().sort().to_list() if is_text else []
            columns.append(TrainingColumn(name, "category" if is_text else "number", levels))
        return columns

    @property
    def row_ids(self) -> pl.Series:
        """Keys of the rows as text, String (n,)."""
        return self._frame["row_id"]

    @property
    def event_at(self) -> pl.Series:
        """Event times, Int64 (n,), microseconds UTC."""
        return self._frame["event_at"]

    def polars(self) -> pl.DataFrame:
        """Return every column: ``row_id``, ``event_at``, ``label`` and the features."""
        return self._frame

    def xy(self) -> tuple[Any, Any]:
        """Return features and label as a pandas frame and series.

        Numbers are float64 with NaN where missing; text columns are categories whose order is fixed (sorted), so that a
        column's codes mean the same whichever rows are looked at.
        """
        import pandas as pd

        columns = {}
        for column in self.inputs:
            series = self._frame[column.name]
            if column.kind == "category":
                codes = series.cast(pl.Enum(column.categories)).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
                columns[column.name] = pd.Categorical.from_codes(
                    codes, categories=pd.Index(column.categories, dtype=object)
                )
            else:
                columns[column.name] = _numbers(series)
        label = self._frame["label"]
        target = label.to_list() if label.dtype == pl.String else _numbers(label)
        return pd.DataFrame(columns), pd.Series(target, name=self.label)

    def numpy(self) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return features as float64 (n, k), categories as their codes and NaN where missing, and the label (n,)."""
        matrix = np.empty((len(self), len(self.columns)), np.float64)
        for index, column in enumerate(self.inputs):
            series = self._frame[column.name]
            if column.kind == "category":
                series = series.cast(pl.Enum(column.categories)).to_physical().cast(pl.Float64)
            matrix[:, index] = _numbers(series)
        label = self._frame["label"]
        return matrix, (label.to_numpy() if label.dtype == pl.String else _numbers(label))

    def torch(self) -> tuple[Any, Any]:
        """Return features as a float32 tensor (n, k) and the label as a float32 tensor (n,).

        Raises:
            InvalidInput: The label is text.
        """
        import torch

        matrix, label = self.numpy()
        if label.dtype == object:
            raise InvalidInput("a text label is no tensor", field="label", value=self.label, next_step="use .xy()")
        return torch.tensor(matrix, dtype=torch.float32), torch.tensor(label, dtype=torch.float32)

    def split(self, at_us: int) -> tuple["TrainingSet", "TrainingSet"]:
        """Return the rows before a moment (microseconds UTC) and those from it on; for holding the last rows out."""
        is_before = pl.col("event_at") < at_us
        parts = (self._frame.filter(is_before), self._frame.filter(~is_before))
        before, after = (TrainingSet(part, label=self.label, params=self.params, ref=self.ref) for part in parts)
        return before, after


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    return series.fill_null(float("nan")).to_numpy(writable=True)
