"""What a flavour is, and the columns it is told about."""

from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.kernel.errors import InvalidInput
from loopwright.registry.types import ColumnKind, InputColumn, Signature, Task

Matrix = NDArray[np.float64]


class TrainingColumn(msgspec.Struct, frozen=True):
    """One column of the rows a model was fitted on. ``dtype`` is the frame's name of its type, or empty."""

    name: str
    kind: ColumnKind
    categories: list[str] = []
    dtype: str = ""

    @property
    def frame_dtype(self) -> str:
        """The pandas dtype to rebuild the column with."""
        return self.dtype or {"category": "category", "boolean": "bool"}.get(self.kind, "float64")

    def to_input(self) -> InputColumn:
        """Return it as a signature holds it."""
        return InputColumn(self.name, self.kind, self.categories)


class Saved(msgspec.Struct, frozen=True):
    """What a flavour learned of the model it saved: inputs in the model's order, and classes in output order."""

    inputs: list[InputColumn]
    classes: list[str] = []


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, matrix: Matrix) -> Matrix:
        """Return predictions, float64.

        Args:
            matrix: Encoded rows, float64 of shape (n, k), C order.

        Returns:
            P(positive) or the value, shape (n,); for multiclass P of each class, shape (n, c).
        """
        ...


class Flavour(Protocol):
    """Adapter of one model library."""

    name: str
    suffix: str
    """File ending by which an import recognises it."""

    def can_save(self, model: Any) -> bool:
        """Say whether the model is one of this library's, without importing the library for it."""
        ...

    def save(self, model: Any, folder: Path, columns: list[TrainingColumn], task: Task) -> Saved:
        """Write the model's files into a folder.

        Raises:
            InvalidInput: The model cannot be saved without a pickle, or does not fit the columns or the task.
        """
        ...

    def load(self, folder: Path, signature: Signature) -> Predictor:
        """Read the model from a folder.

        Raises:
            InvalidInput: The files are not of this flavour, or hold what it does not trust.
        """
        ...

    def inspect(self, path: Path, columns: list[TrainingColumn], task: Task, folder: Path) -> Saved:
        """Take over one model file that was made elsewhere: write the files of this flavour to ``folder``.

        Raises:
            InvalidInput: The file is not of this flavour, or columns are needed and were not given.
        """
        ...


def library_of(model: Any) -> set[str]:
    """Return the top-level packages a model's class comes from, its bases included."""
    return {base.__module__.partition(".")[0] for base in type(model).__mro__}


def match_columns(names: list[str], columns: list[TrainingColumn]) -> list[TrainingColumn]:
    """Return the columns in the model's order.

    Raises:
        InvalidInput: The model reads a column that was not among them.
    """
    by_name = {column.name: column for column in columns}
    if missing := [name for name in names if name not in by_name]:
        raise InvalidInput("the model reads columns it was not fitted on here", field="columns", value=missing)
    return [by_name[name] for name in names]


def check_width(found: int, columns: list[TrainingColumn]) -> None:
    """Refuse columns that are not as many as the model reads.

    Raises:
        InvalidInput: The counts differ.
    """
    if found != len(columns):
        raise InvalidInput(
            f"the model reads another number of columns: {found}, not {len(columns)}",
            field="columns",
            value=found,
            rule=f"{len(columns)}: {', '.join(column.name for column in columns[:50])}",
            next_step="fit on all columns, or leave out of the feature service what the model does not read",
        )


def unfitted(model: Any) -> InvalidInput:
    """Return the error for a model that was made and never fitted."""
    return InvalidInput(
        "this model is not fitted",
        field="model",
        value=type(model).__name__,
        rule="a fitted model",
        next_step="fit it before it is returned: return model.fit(X, y)",
    )
