"""Codecs of training sets and models: how they reach a user's ``fit`` and come back. They run in the child process."""

from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loopwright.features import TrainingSet
from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.plugins import load_plugin, plugin_names
from loopwright.pipelines import Files
from loopwright.registry import (
    FLAVOURS,
    Predictor,
    SavedModel,
    Signature,
    TrainingColumn,
    check_files,
    load_model,
    save_model,
)


class LoadedModel(msgspec.Struct, frozen=True):
    """A model as a platform step receives it."""

    predictor: Any
    signature: Signature


class TrainingSetCodec:
    """Gives user code a TrainingSet for the document of a frozen one."""

    newest: TrainingSet | None = None
    """The training set this child was given last: the columns and the task of the model that comes back."""
    task = ""

    def can_encode(self, value: Any) -> bool:
        """Refuse: training sets are made by the platform, not by steps."""
        return False

    def encode(self, value: Any, files: Files) -> Any:
        """Never called."""
        raise TypeError("training sets are not made by steps")

    def decode(self, document: dict[str, Any], files: Files) -> TrainingSet:
        """Read the Parquet file."""
        frame = pl.read_parquet(files.path(document["blob"]))
        training_set = TrainingSet(frame, label=document["label"], ref=document["ref"])
        TrainingSetCodec.newest, TrainingSetCodec.task = training_set, document["task"]
        return training_set


class ModelCodec:
    """Writes the model that user code returns through its flavour; never a pickle."""

    def can_encode(self, value: Any) -> bool:
        """Take what an installed flavour can save, once a training set told the columns."""
        if TrainingSetCodec.newest is None:
            return False
        return any(load_plugin(FLAVOURS, name)().can_save(value) for name in plugin_names(FLAVOURS))

    def encode(self, value: Any, files: Files) -> Any:
        """Save the files and describe them."""
        rows = TrainingSetCodec.newest
        assert rows is not None
        folder = files.folder / "model"
        saved = save_model(value, folder, _columns(rows), TrainingSetCodec.task)  # type: ignore[arg-type]
        digests = {file.path: files.keep(folder / file.path) for file in saved.files}
        return {"blobs": digests, "saved": to_builtins(saved)}

    def decode(self, document: dict[str, Any], files: Files) -> LoadedModel:
        """Load the model for a platform step."""
        saved = convert(document["saved"], SavedModel)
        check_files(saved.files)  # the document is user code's word
        folder = files.folder / f"model-{saved.digest[:12]}"
        for file in saved.files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(Path(files.path(file.digest)).read_bytes())
        predictor: Predictor = load_model(saved, folder)
        return LoadedModel(predictor, saved.signature)


def _columns(rows: TrainingSet) -> list[TrainingColumn]:
    return [
        TrainingColumn(training_column.name, training_column.kind, training_column.categories)
        for training_column in rows.inputs
    ]
