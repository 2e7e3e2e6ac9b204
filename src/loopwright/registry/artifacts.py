"""Models as files: save one through its flavour, and load one after checking every byte against its name."""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import msgspec

from loopwright.kernel.digests import Digest
from loopwright.kernel.errors import Corrupt, InvalidInput
from loopwright.kernel.plugins import load_plugin, plugin_names
from loopwright.registry.flavours import FLAVOURS
from loopwright.registry.flavours.base import Flavour, Predictor, Saved, TrainingColumn
from loopwright.registry.types import ColumnKind, InputColumn, ModelFile, Signature, Task
from loopwright.registry.versions import check_files, model_digest
from loopwright.store.blobs import BlobStore

_PICKLES = {".pkl", ".pickle", ".joblib", ".cloudpickle"}


class SavedModel(msgspec.Struct, frozen=True):
    """A model written to a folder: everything ``registry.register`` asks for. Paths are relative to the folder."""

    flavour: str
    files: list[ModelFile]
    signature: Signature
    digest: Digest


class ModelParts(Protocol):
    """What loading needs: a ModelVersion, a SavedModel and a release's Variant all have it."""

    @property
    def flavour(self) -> str:
        """The plugin's name."""
        ...

    @property
    def files(self) -> list[ModelFile]:
        """Relative paths and digests."""
        ...

    @property
    def signature(self) -> Signature:
        """Inputs, task and classes."""
        ...

    @property
    def digest(self) -> str:
        """Digest over flavour, files and signature."""
        ...


def columns_of(frame: Any) -> list[TrainingColumn]:
    """Return the columns of a training frame: pandas, Polars, or a numeric matrix of shape (n, k).

    Texts and categoricals become categories with their levels, in the frame's order or sorted.

    Raises:
        InvalidInput: A column is neither number, boolean nor text.
    """
    library = type(frame).__module__.partition(".")[0]
    if library == "pandas":
        return [_of_pandas(str(name), frame[name]) for name in frame.columns]
    if library == "polars":
        return [_of_polars(name, frame[name]) for name in frame.columns]
    shape: tuple[int, ...] = getattr(frame, "shape", ())
    if len(shape) != 2:
        raise InvalidInput("this is no table", field="columns", value=type(frame).__name__, rule="a frame or a matrix")
    return [TrainingColumn(f"column_{index}", "number") for index in range(shape[1])]


def save_model(model: Any, out_dir: Path, columns: Any, task: Task) -> SavedModel:
    """Write a fitted model through the flavour that knows it.

    Args:
        model: The fitted model.
        out_dir: An empty folder for its files; made if missing.
        columns: The columns it was fitted on: TrainingColumn or InputColumn each, or the training frame itself.
        task: What it answers.

    Raises:
        InvalidInput: No installed flavour can save it.
    """
    told = [_as_training(column) for column in columns] if isinstance(columns, list) else columns_of(columns)
    for name in plugin_names(FLAVOURS):
        flavour: Flavour = load_plugin(FLAVOURS, name)()
        if flavour.can_save(model):
            out_dir.mkdir(parents=True, exist_ok=True)
            with _needing_library(name):
                return _saved(flavour, flavour.save(model, out_dir, told, task), out_dir, task)
    raise InvalidInput(
        "no flavour can save this model",
        field="model",
        value=f"{type(model).__module__}.{type(model).__qualname__}",
        rule=f"one of {', '.join(plugin_names(FLAVOURS))}",
        next_step="see how to add a flavour",
    )


def inspect_file(path: Path, out_dir: Path, task: Task, columns: Sequence[Any] = (), flavour: str = "") -> SavedModel:
    """Take over a model file that was made elsewhere, as the client of ``import model`` does.

    Args:
        path: A LightGBM text model, a skops or ONNX file, or a constant's JSON.
        out_dir: An empty folder for the files of the version.
        task: What it answers.
        columns: Its columns in order; needed where the file does not tell them.
        flavour: The plugin; guessed from the file's ending where empty.

    Raises:
        InvalidInput: The file is no model of that flavour.
    """
    for name in [flavour] if flavour else plugin_names(FLAVOURS):
        found: Flavour = load_plugin(FLAVOURS, name)()
        if flavour or path.suffix == found.suffix:
            out_dir.mkdir(parents=True, exist_ok=True)
            told = [_as_training(column) for column in columns]
            with _needing_library(name):
                return _saved(found, found.inspect(path, told, task, out_dir), out_dir, task)
    raise _unreadable(path)


def _unreadable(path: Path) -> InvalidInput:
    """Return the error of a file that no flavour reads, and how its model can be brought."""
    suffixes = [load_plugin(FLAVOURS, name)().suffix for name in plugin_names(FLAVOURS)]
    rule = f"a file that ends with one of {', '.join(sorted({suffix for suffix in suffixes if suffix}))}"
    step = "name its flavour (--flavour), save it as ONNX, LightGBM text or skops, or see docs/how-to/add-a-flavour.md"
    if path.suffix in _PICKLES:
        message = "pickles are not read: to load one is to run whatever code it holds"
        step = "write the model anew: skops.io.dump(model, 'model.skops'), booster.save_model('model.txt') or ONNX"
        return InvalidInput(message, field="file", value=path.name, rule=rule, next_step=step)
    return InvalidInput("no flavour reads this file", field="file", value=path.name, rule=rule, next_step=step)


def load_model(parts: ModelParts, source: BlobStore | Path) -> Predictor:
    """Load a model from a blob store, or from a folder that holds its files by path.

    The files are read once, into a private folder, and checked there, so that what was checked is what is loaded.

    Raises:
        Corrupt: A file, or the whole, does not match its digest.
        NotFound: A file is not stored.
        InvalidInput: The flavour refuses the files.
    """
    check_files(parts.files)
    if parts.digest and model_digest(parts.flavour, parts.files, parts.signature) != parts.digest:
        raise Corrupt("this model is not the one that was registered", field="digest", value=parts.digest)
    flavour: Flavour = load_plugin(FLAVOURS, parts.flavour)()
    with tempfile.TemporaryDirectory(prefix="loopwright-model-") as name:
        folder = Path(name)
        for file in parts.files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file.path if isinstance(source, Path) else source.path(file.digest), path)
            if _file_digest(path) != file.digest:
                raise Corrupt("a model file has changed", field=file.path, value=file.digest, next_step="restore it")
        with _needing_library(parts.flavour):
            return flavour.load(folder, parts.signature)


@contextlib.contextmanager
def _needing_library(flavour: str) -> Iterator[None]:
    """Say what to install where the library of a flavour is missing.

    Raises:
        InvalidInput: It is not installed here.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        is_ours = flavour in (metadata.metadata("loopwright").get_all("Provides-Extra") or [])
        library = str(error.name).partition(".")[0]
        message = f"models of flavour {flavour} need {library}"
        step = f"pip install '{f'loopwright[{flavour}]' if is_ours else library}'"
        raise InvalidInput(message, field="flavour", value=flavour, rule="not installed here", next_step=step) from None


def _saved(flavour: Flavour, saved: Saved, out_dir: Path, task: Task) -> SavedModel:
    paths = sorted(path for path in out_dir.rglob("*") if path.is_file())
    files = [ModelFile(path.relative_to(out_dir).as_posix(), _file_digest(path), path.stat().st_size) for path in paths]
    signature = Signature(saved.inputs, task, saved.classes)
    return SavedModel(flavour.name, files, signature, model_digest(flavour.name, files, signature))


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_training(column: TrainingColumn | InputColumn) -> TrainingColumn:
    if isinstance(column, TrainingColumn):
        return column
    return TrainingColumn(column.name, column.kind, column.categories)


def _of_pandas(name: str, values: Any) -> TrainingColumn:
    dtype = str(values.dtype)
    if hasattr(values, "cat"):
        return TrainingColumn(name, "category", [str(level) for level in values.cat.categories], "category")
    if values.dtype.kind in "biuf":
        return TrainingColumn(name, "boolean" if values.dtype.kind == "b" else "number", [], dtype)
    levels = values.dropna().unique().tolist()
    return TrainingColumn(name, "category", _text_levels(name, levels, dtype), dtype)


def _of_polars(name: str, values: Any) -> TrainingColumn:
    dtype = str(values.dtype)
    if dtype == "Boolean" or values.dtype.is_numeric():
        kind: ColumnKind = "boolean" if dtype == "Boolean" else "number"
        return TrainingColumn(name, kind, [], "bool" if kind == "boolean" else "float64")
    if dtype.startswith("Enum"):
        return TrainingColumn(name, "category", values.dtype.categories.to_list(), "category")
    return TrainingColumn(
        name, "category", _text_levels(name, values.drop_nulls().unique().to_list(), dtype), "category"
    )


def _text_levels(name: str, levels: list[Any], dtype: str) -> list[str]:
    if not all(isinstance(level, str) for level in levels):
        raise InvalidInput(
            "this column cannot be a model's input", field=name, value=dtype, rule="number, boolean or text"
        )
    return sorted(levels)
