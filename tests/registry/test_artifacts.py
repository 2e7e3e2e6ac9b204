"""Artifacts: every byte is checked before a model is loaded."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest

from loopwright.kernel.errors import Corrupt, InvalidInput, NotFound
from loopwright.registry import InputColumn, Signature
from loopwright.registry.artifacts import columns_of, load_model, save_model
from loopwright.registry.flavours.constant import ConstantModel
from loopwright.store.blobs import BlobStore


def test_a_changed_file_is_not_loaded(tmp_path: Path) -> None:
    saved = save_model(ConstantModel(0.25), tmp_path, np.zeros((1, 2)), "binary")
    assert load_model(saved, tmp_path).predict(np.zeros((2, 2))).tolist() == [0.25, 0.25]
    (tmp_path / "constant.json").write_text('{"value":0.75}')
    with pytest.raises(Corrupt, match="file has changed"):
        load_model(saved, tmp_path)


def test_a_swapped_signature_is_not_loaded(tmp_path: Path, blob_store: BlobStore) -> None:
    saved = save_model(ConstantModel(0.25), tmp_path, np.zeros((1, 2)), "binary")
    with pytest.raises(NotFound):
        load_model(saved, blob_store)
    blob_store.put_file(tmp_path / "constant.json")
    load_model(saved, blob_store)
    swapped = msgspec.structs.replace(saved, signature=Signature([InputColumn("z", "number")], "binary"))
    with pytest.raises(Corrupt, match="not the one"):
        load_model(swapped, blob_store)


def test_paths_stay_inside(tmp_path: Path) -> None:
    saved = save_model(ConstantModel(0.25), tmp_path, np.zeros((1, 2)), "binary")
    file = msgspec.structs.replace(saved.files[0], path="../constant.json")
    with pytest.raises(InvalidInput, match="path"):
        load_model(msgspec.structs.replace(saved, files=[file]), tmp_path)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_frames(library: str) -> None:
    listed: dict[str, Any] = {"n": [1.5, None], "i": [1, 2], "b": [True, False], "t": ["y", "x"]}
    frame: Any = pl.DataFrame(listed) if library == "polars" else pd.DataFrame(listed)
    found = [(column.kind, column.categories) for column in columns_of(frame)]
    assert found == [("number", []), ("number", []), ("boolean", []), ("category", ["x", "y"])]


def test_levels_keep_the_order_of_the_frame() -> None:
    ordered = pd.DataFrame({"c": pd.Categorical(["a"], categories=["b", "a"])})
    enum = pl.DataFrame({"c": pl.Series(["a"], dtype=pl.Enum(["b", "a"]))})
    assert columns_of(ordered)[0].categories == columns_of(enum)[0].categories == ["b", "a"]


def test_odd_frames_are_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be a model's input"):
        columns_of(pd.DataFrame({"at": pd.to_datetime(["2013-01-01"])}))
    with pytest.raises(InvalidInput, match="no table"):
        columns_of(np.zeros(3))
