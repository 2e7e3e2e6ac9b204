"""LightGBM, kept in its own text format and predicted on one thread, so that scores are equal to the bit."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.tasks import class_name
from loopwright.registry.flavours.base import Matrix, Saved, TrainingColumn, check_width, library_of, unfitted
from loopwright.registry.flavours.lightgbm_text import check_text
from loopwright.registry.types import InputColumn, Signature, Task

FILE = "model.txt"
_FLOAT64, _ROW_MAJOR, _NORMAL = 1, 1, 0
_PARAMETERS = b"num_threads=1"


class BoosterPredictor:
    """A booster called through LightGBM's C interface: its Python call costs more than a row's prediction."""

    def __init__(self, booster: Any, library: Any) -> None:
        self.booster = booster
        self.width: int = booster.num_feature()
        self.classes: int = booster.num_model_per_iteration()
        # None lets Python's own call take over, should a later LightGBM keep these elsewhere.
        self._predict = getattr(library, "LGBM_BoosterPredictForMat", None)
        self._handle = getattr(booster, "_handle", None)

    def predict(self, matrix: Matrix) -> Matrix:
        """Return P(positive), the value, or P of each class."""
        if matrix.ndim != 2 or matrix.shape[1] != self.width:
            raise InvalidInput(
                "the matrix has another width", field="matrix", value=matrix.shape, rule=f"(n, {self.width})"
            )
        rows = len(matrix)
        if self._handle is None or self._predict is None:
            return np.asarray(self.booster.predict(matrix, num_threads=1), dtype=np.float64)
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        answer = np.empty((rows, self.classes) if self.classes > 1 else rows)
        written = ctypes.c_int64(0)
        code = rows and self._predict(
            self._handle,
            ctypes.c_void_p(matrix.ctypes.data),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(rows),
            ctypes.c_int32(self.width),
            ctypes.c_int(_ROW_MAJOR),
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(-1),
            ctypes.c_char_p(_PARAMETERS),
            ctypes.byref(written),
            ctypes.c_void_p(answer.ctypes.data),
        )
        if code != 0 or (rows and written.value != answer.size):
            raise InvalidInput("LightGBM could not predict these rows", field="matrix", value=matrix.shape)
        return answer


class LightGbmFlavour:
    """Saves a Booster, or the booster inside a scikit-learn wrapper."""

    name = "lightgbm"
    suffix = ".txt"

    def can_save(self, model: Any) -> bool:
        """Say whether it is LightGBM's."""
        return "lightgbm" in library_of(model)

    def save(self, model: Any, folder: Path, columns: list[TrainingColumn], task: Task) -> Saved:
        """Write the booster as text."""
        booster = getattr(model, "booster_", model)
        if not hasattr(booster, "num_feature"):
            raise unfitted(model)
        saved = _describe(booster, columns, task, [class_name(label) for label in getattr(model, "classes_", [])])
        (folder / FILE).write_text(booster.model_to_string(), "utf-8")
        return saved

    def load(self, folder: Path, signature: Signature) -> BoosterPredictor:
        """Read the booster."""
        booster, library = _read(folder / FILE)
        if booster.num_feature() != len(signature.inputs):
            raise InvalidInput("model and signature differ in width", field="signature", value=len(signature.inputs))
        return BoosterPredictor(booster, library)

    def inspect(self, path: Path, columns: list[TrainingColumn], task: Task, folder: Path) -> Saved:
        """Take over a text model; without columns they are read from it."""
        booster, _ = _read(path)
        saved = _describe(booster, columns or _columns_of(booster), task, [])
        (folder / FILE).write_text(booster.model_to_string(), "utf-8")
        return saved


def feature_importance(predictor: BoosterPredictor) -> dict[str, float]:
    """Return the share of the total gain each feature brought, by feature name; empty for a model without splits."""
    gains = predictor.booster.feature_importance("gain")
    total = float(gains.sum())
    names = predictor.booster.feature_name()
    return {name: float(gain) / total for name, gain in zip(names, gains, strict=True)} if total > 0 else {}


def _read(path: Path) -> tuple[Any, Any]:
    import lightgbm

    body = path.read_bytes()
    try:
        text = body.decode("utf-8")
        if not (text.startswith("tree\n") and "\nend of trees" in text):
            raise ValueError
        check_text(text)
        return lightgbm.Booster(model_str=text), getattr(lightgbm.basic, "_LIB", None)
    except (ValueError, RecursionError, lightgbm.basic.LightGBMError):
        raise InvalidInput(
            "this is no LightGBM model", field=path.name, rule="the text format of Booster.save_model"
        ) from None


def _describe(booster: Any, columns: list[TrainingColumn], task: Task, classes: list[str]) -> Saved:
    check_width(booster.num_feature(), columns)
    outputs = booster.num_model_per_iteration()
    if (outputs > 1) != (task == "multiclass"):
        raise InvalidInput(
            "the model's outputs do not fit the task", field="task", value=task, rule=f"{outputs} output(s)"
        )
    if task in ("binary", "multiclass") and "\nobjective=" not in _head(booster):
        raise InvalidInput(
            "a model with an objective of its own answers margins and no probabilities",
            field="model",
            value="custom objective",
            rule=f"an objective of LightGBM's own for the task {task}",
            next_step="fit with such an objective, or as another task if the value itself is the answer",
        )
    inputs = [column.to_input() for column in _in_order_of(booster.feature_name(), columns)]
    if booster.pandas_categorical:
        inputs = _with_levels(inputs, booster.pandas_categorical)
    if not classes and task in ("binary", "multiclass"):
        classes = [str(index) for index in range(max(outputs, 2))]
    return Saved(inputs, classes)


def _in_order_of(names: list[str], columns: list[TrainingColumn]) -> list[TrainingColumn]:
    """Return columns in the order in which the model was fitted on them, by their names.

    A model whose names are all its own, as those it makes up for a matrix without any, has them as they are.

    Raises:
        InvalidInput: It was fitted on some of them and on others.
    """
    named = {column.name.replace(" ", "_"): column for column in columns}  # LightGBM writes names without spaces
    if not named.keys() & set(names):
        return columns
    if unknown := [name for name in names if name not in named]:
        raise InvalidInput(
            "the model was fitted on a column that its training rows do not have",
            field="model",
            value=unknown[0],
            rule=f"one of {', '.join(named)}",
            next_step="fit on the columns of rows.xy() as they are named, in any order",
        )
    return [named[name] for name in names]


def _with_levels(inputs: list[InputColumn], levels: list[list[Any]]) -> list[InputColumn]:
    """Put the category levels the booster was fitted with into the signature: their order is its code."""
    places = [index for index, column in enumerate(inputs) if column.kind == "category"]
    if len(places) != len(levels):
        raise InvalidInput(
            "the model was fitted with other category columns",
            field="columns",
            value=[inputs[place].name for place in places],
            rule=f"{len(levels)} category columns",
        )
    changed = list(inputs)
    for place, known in zip(places, levels, strict=True):
        changed[place] = InputColumn(inputs[place].name, "category", [str(level) for level in known])
    return changed


def _columns_of(booster: Any) -> list[TrainingColumn]:
    """Read names and kinds from the model: ``feature_infos`` has categories as ``0:1:2``, numbers as ``[low:high]``."""
    infos = (
        next((line for line in _head(booster).splitlines() if line.startswith("feature_infos=")), "=")
        .partition("=")[2]
        .split(" ")
    )
    coded = [booster.pandas_categorical and info[:1] not in ("[", "") and info != "none" for info in infos]
    kinds = ["category" if is_coded else "number" for is_coded in coded]
    return [
        TrainingColumn(name, "category" if kind == "category" else "number")
        for name, kind in zip(booster.feature_name(), kinds, strict=True)
    ]


def _head(booster: Any) -> str:
    text: str = booster.model_to_string(num_iteration=1)
    return text.split("\nTree=", 1)[0]
