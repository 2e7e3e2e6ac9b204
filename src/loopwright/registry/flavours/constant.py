"""A model that always says the same: a baseline, and a first model to try the whole loop with."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.registry.flavours.base import Matrix, Saved, TrainingColumn
from loopwright.registry.types import Signature, Task

FILE = "constant.json"


class ConstantModel(msgspec.Struct, frozen=True):
    """Predicts ``value`` for every row; for multiclass a list with the P of each class.

    >>> ConstantModel(0.2).predict(np.zeros((2, 3))).tolist()
    [0.2, 0.2]
    """

    value: float | list[float]

    def predict(self, matrix: Matrix) -> Matrix:
        """Return the value once a row."""
        value = np.asarray(self.value, dtype=np.float64)
        return np.broadcast_to(value, (len(matrix), *value.shape)).copy()


class ConstantFlavour:
    """Keeps a ConstantModel as JSON."""

    name = "constant"
    suffix = ".json"

    def can_save(self, model: Any) -> bool:
        """Say whether it is a ConstantModel."""
        return isinstance(model, ConstantModel)

    def save(self, model: ConstantModel, folder: Path, columns: list[TrainingColumn], task: Task) -> Saved:
        """Write the value."""
        if not np.isfinite(model.value).all():
            raise InvalidInput("a constant is a finite number", field="value", value=model.value)
        if (task == "multiclass") != isinstance(model.value, list):
            raise InvalidInput("a list is for multiclass, a number for the rest", field="value", value=model.value)
        (folder / FILE).write_bytes(to_json(model))
        classes = [str(index) for index in range(len(model.value))] if isinstance(model.value, list) else []
        return Saved([column.to_input() for column in columns], classes or (["0", "1"] if task == "binary" else []))

    def load(self, folder: Path, signature: Signature) -> ConstantModel:
        """Read the value."""
        return _read(folder / FILE)

    def inspect(self, path: Path, columns: list[TrainingColumn], task: Task, folder: Path) -> Saved:
        """Take over a file ``{"value": 0.2}``."""
        return self.save(_read(path), folder, columns, task)


def _read(path: Path) -> ConstantModel:
    try:
        return from_json(path.read_bytes(), ConstantModel, "constant.json")
    except UnicodeDecodeError:
        raise InvalidInput("this is no constant model", field=path.name, rule="JSON") from None
