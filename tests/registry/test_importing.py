"""Importing a model that was trained elsewhere, from the client to the registry."""

import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from loopwright.governance import LOCAL_ACTOR, Dispatcher
from loopwright.kernel.errors import InvalidInput
from loopwright.registry import importing
from loopwright.registry.artifacts import inspect_file, load_model
from loopwright.store.blobs import BlobStore


class Direct:
    """A client without HTTP."""

    def __init__(self, dispatcher: Dispatcher, blobs: BlobStore) -> None:
        self.dispatcher, self.blobs = dispatcher, blobs

    def call(self, verb: str, args: dict[str, Any], project: str) -> Any:
        return self.dispatcher.call(verb, args, actor=LOCAL_ACTOR, project=project)

    def put_blob(self, project: str, body: bytes) -> Any:
        return self.blobs.put(body)


def test_a_lightgbm_file_becomes_a_version(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    X, y = chance.normal(size=(200, 3)), chance.integers(0, 2, size=200)
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, y), 5)
    booster.save_model(tmp_path / "theirs.txt")
    caller = Direct(dispatcher, blob_store)
    version = importing.import_model(caller, "flights", model="late", file=tmp_path / "theirs.txt", task="binary")
    again = importing.import_model(caller, "flights", model="late", file=tmp_path / "theirs.txt", task="binary")
    assert (version.version, version.source, version.flavour) == (1, "imported", "lightgbm")
    assert again == version
    np.testing.assert_array_equal(load_model(version, blob_store).predict(X), booster.predict(X))


def test_what_cannot_be_imported(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path) -> None:
    caller = Direct(dispatcher, blob_store)
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04N.")
    (tmp_path / "model.bin").write_bytes(b"weights")
    refused = (("model.pkl", "pickles are not read"), ("model.bin", "no flavour"), ("nowhere.txt", "no such file"))
    for name, message in refused:
        with pytest.raises(InvalidInput, match=message):
            importing.import_model(caller, "flights", model="late", file=tmp_path / name, task="binary")


@pytest.mark.parametrize(("name", "library"), [("m.txt", "lightgbm"), ("m.skops", "skops"), ("m.onnx", "onnxruntime")])
def test_a_library_that_is_missing_is_told_with_the_extra_that_brings_it(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (library, f"{library}.io"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"tree\n")
    with pytest.raises(InvalidInput) as told:
        inspect_file(tmp_path / name, tmp_path / "out", "binary")
    extra = {"m.txt": "lightgbm", "m.skops": "sklearn", "m.onnx": "onnx"}[name]
    assert (told.value.message, told.value.next_step) == (
        f"models of flavour {extra} need {library}",
        f"pip install 'loopwright[{extra}]'",
    )
