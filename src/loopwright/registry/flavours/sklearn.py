"""scikit-learn, kept in skops' format. Only classes and parameters that compute are trusted.

skops has a list of its own of what it trusts, among it classes that open files when they are told names of files. So
the file's schema is read first, and every type in it must be on the lists below.
"""

import importlib
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.tasks import class_name
from loopwright.registry.flavours.base import (
    Matrix,
    Saved,
    TrainingColumn,
    check_width,
    library_of,
    match_columns,
    unfitted,
)
from loopwright.registry.types import Signature, Task

FILE, FRAME_FILE = "model.skops", "frame.json"
LIBRARIES = ("sklearn", "numpy", "scipy")
MOST_BYTES = 4 << 30
MOST_SCHEMA_BYTES = 256 << 20
MOST_PARTS = 5_000_000

_MODELLING = """
_loss calibration cluster compose covariance cross_decomposition decomposition discriminant_analysis dummy ensemble
feature_extraction feature_selection frozen gaussian_process impute isotonic kernel_approximation kernel_ridge
linear_model manifold metrics mixture model_selection multiclass multioutput naive_bayes neighbors neural_network
pipeline preprocessing random_projection semi_supervised svm tree
"""
_OPEN = {"sklearn": {*_MODELLING.split()}, "scipy": {"sparse", "interpolate", "stats", "spatial"}}
"""Packages whose classes models are made of. What runs programs, reads files or fetches data is in none of them."""
_CLOSED = {"_testing", "testing", "tests", "_plot", "_plotting", "conftest"}
_PLAIN = {
    *(f"builtins.{name}" for name in ("dict", "list", "tuple", "set", "frozenset", "str", "bytes", "bytearray")),
    *(f"builtins.{name}" for name in ("int", "float", "bool", "complex", "slice", "NoneType", "type")),
    *(f"collections.{name}" for name in ("OrderedDict", "defaultdict", "Counter")),
    "sklearn.utils._bunch.Bunch",
}
_FUNCTIONS = {
    "functools.partial",
    "numpy.mean",
    "numpy.median",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "sklearn.utils.validation.check_array",
    "sklearn.cluster._kmeans._kmeans_single_elkan",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    *(f"sklearn.feature_selection._univariate_selection.{name}" for name in ("chi2", "f_classif", "f_regression")),
    *(f"sklearn.feature_selection._mutual_info.mutual_info_{name}" for name in ("classif", "regression")),
}
"""Functions that fitted models hold; a partial's own function is checked like any other."""
_BUILDING = """
BytearrayNode BytesNode CachedNode DTypeNode DefaultDictNode DictNode FunctionNode JsonNode ListNode LossNode
MaskedArrayNode NdArrayNode ObjectNode PartialNode RandomGeneratorNode RandomStateNode SetNode SliceNode
SparseMatrixNode TreeNode TupleNode TypeNode
"""
_NODES = {*_BUILDING.split()}
"""Readers of skops that build values; those that call what the file names are left out."""
_READS_FILES = {"input": {"content"}}
"""Parameters that make a part open the files its rows name, and the values with which it does not."""


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
        for index, (column, dtype) in enumerate(zip(self.signature.inputs, self.frame.dtypes, strict=True)):
            values = matrix[:, index]
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
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

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
        try:
            check_is_fitted(model)
        except NotFittedError:
            raise unfitted(model) from None
        return Saved(
            [column.to_input() for column in ordered], [class_name(label) for label in getattr(model, "classes_", [])]
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
            names = names or [f"column_{index}" for index in range(width)]
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

    _check_schema(_read_schema(path), path.name)
    try:
        model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    except (KeyError, ValueError, TypeError, AttributeError, ImportError, MemoryError, zipfile.BadZipFile) as error:
        # skops meets a forged schema with whatever its readers trip over; none of it is a model.
        raise InvalidInput("this skops file cannot be read", field=path.name, value=str(error)) from None
    _check_parameters(model, path.name)
    return model


def _read_schema(path: Path) -> Any:
    """Return the schema, or refuse what is no zip with one before anything is read: a renamed pickle stops here."""
    if not zipfile.is_zipfile(path):
        raise InvalidInput("this is no skops file", field=path.name, rule="a zip made by skops.io.dump; no pickle")
    try:
        with zipfile.ZipFile(path) as archive:
            if "schema.json" not in archive.namelist():
                raise InvalidInput("this is no skops file", field=path.name, rule="a zip with schema.json")
            sizes = [item.file_size for item in archive.infolist()]
            if sum(sizes) > MOST_BYTES or archive.getinfo("schema.json").file_size > MOST_SCHEMA_BYTES:
                rule = f"at most {MOST_BYTES >> 30} GiB, and {MOST_SCHEMA_BYTES >> 20} MiB of schema.json"
                raise InvalidInput("this model unpacks to too much", field=path.name, rule=rule)
            return from_json(archive.read("schema.json"), dict[str, Any], path.name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InvalidInput("this skops file cannot be read", field=path.name, value=str(error)) from None


def _check_schema(schema: Any, field: str) -> None:
    """Refuse a schema that names a type, a function or a reader which is on no list."""
    refused, waiting = set(), [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        waiting += part.values()
        if not {"__module__", "__class__", "__loader__"} & set(part):
            continue
        name, reader = f"{part.get('__module__')}.{part.get('__class__')}", str(part.get("__loader__"))
        if reader not in _NODES:
            refused.add(f"{reader} of {name}")
        elif not _is_trusted(name):
            refused.add(name)
    if refused:
        raise InvalidInput(
            "this model holds types that are not scikit-learn's own",
            field=field,
            value=", ".join(sorted(refused)),
            rule="classes of sklearn and plain values of numpy and scipy",
            next_step="build it from scikit-learn's parts alone",
        )


def _check_parameters(model: Any, field: str) -> None:
    """Refuse a model with a part that opens files, wherever in it the part may be."""
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | None):
            continue
        seen.add(id(part))
        if len(seen) > MOST_PARTS:
            raise InvalidInput("this model has too many parts", field=field, rule=f"at most {MOST_PARTS}")
        values = getattr(part, "__dict__", {})
        for name, harmless in _READS_FILES.items():
            if name in values and not (isinstance(values[name], str) and values[name] in harmless):
                raise InvalidInput(
                    f"a part of this model reads files: {type(part).__name__}({name}={values[name]!r})",
                    field=field,
                    rule=f"{name}: {' or '.join(sorted(harmless))}",
                    next_step="fit it on the texts themselves",
                )
        waiting += [*values.values(), *_items(part)]


def _items(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return [*part.keys(), *part.values()]
    if isinstance(part, list | tuple | set | frozenset):
        return list(part)
    return list(part.flat) if isinstance(part, np.ndarray) and part.dtype == object else []


def _is_trusted(name: str) -> bool:
    """Trust plain values, classes that models are made of, and the functions that are named.

    Never another function: called with chosen arguments, many of them open files.
    """
    if name in _FUNCTIONS or name in _PLAIN:
        return True
    module_name, _, attribute = name.rpartition(".")
    parts = module_name.split(".")
    if parts[0] not in LIBRARIES or _CLOSED.intersection(parts) or not all(part.isidentifier() for part in parts):
        return False
    if parts[0] in _OPEN and parts[1:2] and parts[1] not in _OPEN[parts[0]]:
        return False
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except ImportError:
        return False
    if isinstance(found, np.ufunc):
        return True
    if not isinstance(found, type) or found.__module__.partition(".")[0] != parts[0]:
        return False
    is_value = issubclass(found, np.generic | np.dtype) or found in (np.ndarray, np.ma.MaskedArray)
    return parts[0] != "numpy" or is_value or parts[:2] == ["numpy", "random"]


def _on_one_thread(model: Any) -> Any:
    """Make every part of an estimator predict on one thread: the gateway's other requests need theirs."""
    parts = model.get_params(deep=True) if hasattr(model, "get_params") else {}
    threads = {name: 1 for name in parts if name.rpartition("__")[2] == "n_jobs"}
    return model.set_params(**threads) if threads else model
