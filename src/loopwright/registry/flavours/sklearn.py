"""scikit-learn, kept in skops' format. Only classes of scikit-learn, numpy and scipy are trusted."""

import importlib
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.registry.flavours.base import Matrix, Saved, TrainingColumn, check_width, library_of, match_columns
from loopwright.registry.types import Signature, Task

FILE, FRAME_FILE = "model.skops", "frame.json"
LIBRARIES = ("sklearn", "numpy", "scipy")
MOST_BYTES = 4 << 30
# Parts of those libraries that run programs, read files or fetch data, and that no fitted model needs.
_CLOSED = {"_testing", "testing", "tests", "datasets", "externals", "f2py", "distutils", "ctypeslib", "io", "conftest"}

_FUNCTIONS = {"functools.partial", "sklearn.utils.validation.check_array"}
"""What HistGradientBoosting holds; a partial's own function is checked like any other."""


class Frame(msgspec.Struct, frozen=True):
    """How the model takes its rows: as a matrix, or as a frame with these dtypes."""

    dtypes: list[str] = []


class SklearnPredictor:
    """A loaded estimator."""

    def __init__(self, model: Any, signature: Signature, frame: Frame) -> None:
        import threadpoolctl  # type: ignore[import-untyped]

        self.model, self.signature, self.frame = model, signature, frame
        self._threads = threadpoolctl.ThreadpoolController()

    def predict(self, matrix: Matrix) -> Matrix:
        """Return P(positive), the value, or P of each class."""
        width = len(self.signature.inputs)
        if matrix.ndim != 2 or matrix.shape[1] != width:
            raise InvalidInput("the matrix has another width", field="matrix", value=matrix.shape, rule=f"(n, {width})")
        task = self.signature.task
        if len(matrix) == 0:
            return np.empty((0, len(self.signature.classes)) if task == "multiclass" else 0)
        rows = self._frame(matrix) if self.frame.dtypes else matrix
        try:
            # OpenMP would spread a single row over every core: a hundred times slower where those are busy.
            with self._threads.limit(limits=1, user_api="openmp"):
                answer = self.model.predict(rows) if task == "regression" else self.model.predict_proba(rows)
        except ValueError as error:
            raise InvalidInput("scikit-learn cannot read these rows", field="matrix", value=str(error)) from None
        answer = np.asarray(answer, dtype=np.float64)
        return np.ascontiguousarray(answer[:, 1]) if task == "binary" else answer

    def _frame(self, matrix: Matrix) -> Any:
        """Rebuild the frame the model was fitted on: levels for codes, None where missing or unknown."""
        import pandas

        columns: dict[str, Any] = {}
        for place, (column, dtype) in enumerate(zip(self.signature.inputs, self.frame.dtypes, strict=True)):
            values = matrix[:, place]
            is_missing = np.isnan(values)
            if column.kind == "category":
                codes = np.where(is_missing, -1, values).astype(np.int64)
                coded = pandas.Categorical.from_codes(codes, categories=column.categories)
                columns[column.name] = coded if dtype == "category" else pandas.Series(coded).astype(dtype)
            elif dtype.startswith(("int", "uint", "bool")) and not is_missing.any():
                columns[column.name] = values.astype(dtype)
            else:
                columns[column.name] = values
        return pandas.DataFrame(columns)


class SklearnFlavour:
    """Saves any fitted estimator or pipeline of scikit-learn's own parts."""

    name = "sklearn"
    suffix = ".skops"

    def can_save(self, model: Any) -> bool:
        """Say whether it is scikit-learn's; LightGBM's wrappers inherit from it and have their own flavour."""
        return "sklearn" in library_of(model) and hasattr(model, "predict")

    def save(self, model: Any, folder: Path, columns: list[TrainingColumn], task: Task) -> Saved:
        """Write the estimator, and read it back as the gateway will."""
        import skops.io

        ordered, frame = _describe(model, columns)
        if task != "regression" and not hasattr(model, "predict_proba"):
            raise InvalidInput(
                f"{type(model).__name__} gives no probabilities",
                field="model",
                rule=f"a {task} model has predict_proba",
                next_step="wrap it in CalibratedClassifierCV",
            )
        skops.io.dump(model, folder / FILE)
        (folder / FRAME_FILE).write_bytes(to_json(frame))
        _read(folder / FILE)
        return Saved(
            [column.to_input() for column in ordered], [str(label) for label in getattr(model, "classes_", [])]
        )

    def load(self, folder: Path, signature: Signature) -> SklearnPredictor:
        """Read the estimator."""
        frame = from_json((folder / FRAME_FILE).read_bytes(), Frame, FRAME_FILE)
        if frame.dtypes and len(frame.dtypes) != len(signature.inputs):
            raise InvalidInput("model and signature differ in width", field="signature", value=len(signature.inputs))
        return SklearnPredictor(_on_one_thread(_read(folder / FILE)), signature, frame)

    def inspect(self, path: Path, columns: list[TrainingColumn], task: Task, folder: Path) -> Saved:
        """Take over a skops file; without columns the model must have been fitted on numbers."""
        model = _read(path)
        names = [str(name) for name in getattr(model, "feature_names_in_", [])]
        if not columns:
            width = getattr(model, "n_features_in_", len(names))
            names = names or [f"column_{place}" for place in range(width)]
            columns = [TrainingColumn(name, "number", [], "float64") for name in names]
        return self.save(model, folder, columns, task)


def _describe(model: Any, columns: list[TrainingColumn]) -> tuple[list[TrainingColumn], Frame]:
    if hasattr(model, "feature_names_in_"):
        ordered = match_columns([str(name) for name in model.feature_names_in_], columns)
        return ordered, Frame([column.frame_dtype for column in ordered])
    if hasattr(model, "n_features_in_"):
        check_width(model.n_features_in_, columns)
    return columns, Frame()


def _read(path: Path) -> Any:
    """Load a skops file whose every type is trusted."""
    import skops.io

    _check_archive(path)
    try:
        asked = skops.io.get_untrusted_types(file=path)
        if refused := [name for name in asked if not _is_trusted(name)]:
            raise InvalidInput(
                "this model holds types that are not scikit-learn's own",
                field=path.name,
                value=", ".join(sorted(refused)),
                rule="classes of sklearn and plain values of numpy and scipy",
                next_step="build it from scikit-learn's parts alone",
            )
        return skops.io.load(path, trusted=asked)
    except (KeyError, ValueError, TypeError, AttributeError, ImportError, zipfile.BadZipFile) as error:
        # skops meets a forged schema with whatever its readers trip over; none of it is a model.
        raise InvalidInput("this skops file cannot be read", field=path.name, value=str(error)) from None


def _check_archive(path: Path) -> None:
    """Refuse what is no zip with a schema, before anything is read from it: a renamed pickle stops here."""
    if not zipfile.is_zipfile(path):
        raise InvalidInput("this is no skops file", field=path.name, rule="a zip made by skops.io.dump; no pickle")
    with zipfile.ZipFile(path) as archive:
        if "schema.json" not in archive.namelist():
            raise InvalidInput("this is no skops file", field=path.name, rule="a zip with schema.json")
        if sum(item.file_size for item in archive.infolist()) > MOST_BYTES:
            raise InvalidInput(
                "this model unpacks to too much", field=path.name, rule=f"at most {MOST_BYTES >> 30} GiB"
            )


def _is_trusted(name: str) -> bool:
    """Trust classes that sklearn defines, plain value classes of numpy, and the parts of scipy that models hold.

    Never a function, but for those named in ``_FUNCTIONS``: called with chosen arguments, many of them open files.
    """
    if name in _FUNCTIONS:
        return True
    module_name, _, attribute = name.rpartition(".")
    parts = module_name.split(".")
    if parts[0] not in LIBRARIES or _CLOSED.intersection(parts) or not all(part.isidentifier() for part in parts):
        return False
    if parts[0] == "scipy" and parts[1:2] not in (["sparse"], ["interpolate"], ["stats"], ["spatial"]):
        return False
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except ImportError:
        return False
    if isinstance(found, np.ufunc):
        return True
    if not isinstance(found, type) or found.__module__.partition(".")[0] != parts[0]:
        return False
    is_value = issubclass(found, np.generic | np.dtype) or found is np.ndarray or parts[:2] == ["numpy", "random"]
    return parts[0] != "numpy" or is_value


def _on_one_thread(model: Any) -> Any:
    """Make every part of an estimator predict on one thread: the gateway's other requests need theirs."""
    parts = model.get_params(deep=True) if hasattr(model, "get_params") else {}
    threads = {name: 1 for name in parts if name.rpartition("__")[2] == "n_jobs"}
    return model.set_params(**threads) if threads else model
