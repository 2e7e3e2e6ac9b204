"""Every flavour keeps the same promises: what was saved predicts the same to the bit, and no pickle is ever loaded."""

import json
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_memory

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import load_plugin, plugin_names
from loopwright.registry import Signature, Task
from loopwright.registry.artifacts import columns_of, inspect_file, load_model, save_model
from loopwright.registry.encoding import encode
from loopwright.registry.flavours.base import TrainingColumn
from loopwright.registry.flavours.constant import ConstantModel
from loopwright.registry.flavours.lightgbm import feature_importance
from loopwright.registry.flavours.sklearn import MOST_SCHEMA_BYTES

Rows = tuple[Any, Any, Any]
Case = tuple[str, Task, Callable[[], tuple[Any, Any, Any, Callable[[Any], Any]]]]
NUMBERS = ["a", "b", "c"]


def frame(rows: int = 600, *, dtype: str = "category") -> Rows:
    """Training frame, labels 0..2, and held-out rows with NaN and unknown categories."""
    chance = np.random.default_rng(7)
    table = pd.DataFrame(chance.normal(size=(rows, 3)), columns=NUMBERS)
    table["n"] = chance.integers(0, 24, size=rows)
    table["late"] = chance.random(rows) < 0.5
    levels = np.array(["UA", "AA", "B6", "DL"])[chance.integers(0, 4, size=rows)]
    table["carrier"] = pd.Series(levels).astype(dtype)
    y = (table["a"] + (levels == "B6") + table["late"] + 0.3 * chance.normal(size=rows)).to_numpy()
    unseen = table.head(80).copy()
    unseen.loc[::7, "a"] = np.nan
    carriers = unseen["carrier"].astype(object)
    carriers.iloc[::5] = "ZZ"
    carriers.iloc[::9] = None
    if dtype == "category":
        carriers = pd.Categorical(carriers, categories=["AA", "B6", "DL", "UA", "ZZ"])
    unseen["carrier"] = carriers
    return table, np.digitize(y, [0.3, 1.3]), unseen


def numbers() -> Rows:
    X, y = make_classification(500, 6, n_informative=4, n_classes=3, random_state=1)
    return X, y, X[:50] * 1.1


def holey(X: Any) -> Any:
    changed = X.copy()
    changed[::3, 1] = np.nan
    return changed


def lightgbm_classes(classes: int) -> Callable[[], Any]:
    def fit() -> Any:
        X, y, unseen = frame()
        y = np.minimum(y, classes - 1)
        model = lightgbm.LGBMClassifier(n_estimators=15, n_jobs=1, verbose=-1).fit(X, y)
        return model, X, unseen, model.predict_proba

    return fit


def lightgbm_booster() -> Any:
    X, y, unseen = numbers()
    model = lightgbm.train({"objective": "l2", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, y), 15)
    return model, X, holey(unseen), model.predict


def sklearn_matrix(model: Any, *, has_holes: bool = False) -> Callable[[], Any]:
    def fit() -> Any:
        X, y, unseen = numbers()
        fitted = model.fit(X, y > 0)
        unseen = holey(unseen) if has_holes else unseen
        return fitted, X, unseen, fitted.predict_proba

    return fit


def sklearn_regression() -> Any:
    X, y, unseen = numbers()
    model = RandomForestRegressor(10, n_jobs=2, random_state=1).fit(X, y * 1.5)
    return model, X, unseen, model.predict


def sklearn_pipeline(dtype: str) -> Callable[[], Any]:
    def fit() -> Any:
        X, y, unseen = frame(dtype=dtype)
        encoder = OneHotEncoder(handle_unknown="ignore")
        columns = make_column_transformer((encoder, ["carrier"]), (SimpleImputer(), [*NUMBERS, "n", "late"]))
        model = make_pipeline(columns, StandardScaler(with_mean=False), LogisticRegression(max_iter=300)).fit(X, y)
        return model, X, unseen, model.predict_proba

    return fit


def sklearn_from_dtype() -> Any:
    X, y, unseen = frame()
    unseen["carrier"] = unseen["carrier"].cat.remove_categories("ZZ")
    model = HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype").fit(X, y > 0)
    return model, X, unseen, model.predict_proba


def constant() -> Any:
    X = np.zeros((5, 2))
    return ConstantModel(0.25), X, X, ConstantModel(0.25).predict


def onnx_linear(classes: int) -> Callable[[], Any]:
    """A linear model of three classes (or of one value) as a graph; in float32, as its library would run it."""

    def fit() -> Any:
        X, _, unseen = numbers()
        chance = np.random.default_rng(3)
        weights = chance.normal(size=(X.shape[1], classes)).astype(np.float32)
        weight = onnx.numpy_helper.from_array(weights, "weights")
        entry = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, [None, X.shape[1]])
        leave = onnx.helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, [None, classes])
        nodes = [onnx.helper.make_node("MatMul", ["rows", "weights"], ["sums" if classes > 1 else "answer"])]
        if classes > 1:
            nodes.append(onnx.helper.make_node("Softmax", ["sums"], ["answer"], axis=1))
        graph = onnx.helper.make_graph(nodes, "linear", [entry], [leave], [weight])
        opset = onnx.helper.make_opsetid("", 17)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

        def predict(rows: Any) -> Any:
            (answer,) = session.run(None, {"rows": np.asarray(rows, np.float32)})
            return answer if classes > 1 else answer[:, 0]

        return model, X, unseen, predict

    return fit


HISTOGRAM = HistGradientBoostingClassifier(max_iter=10)
CASES: list[Any] = [
    pytest.param("lightgbm", "binary", lightgbm_classes(2), id="lightgbm categories"),
    pytest.param("lightgbm", "multiclass", lightgbm_classes(3), id="lightgbm multiclass"),
    pytest.param("lightgbm", "regression", lightgbm_booster, id="lightgbm booster"),
    pytest.param("sklearn", "binary", sklearn_matrix(LogisticRegression()), id="sklearn logistic"),
    pytest.param("sklearn", "binary", sklearn_matrix(RandomForestClassifier(10, n_jobs=2)), id="sklearn forest"),
    pytest.param("sklearn", "binary", sklearn_matrix(HISTOGRAM, has_holes=True), id="sklearn histgb"),
    pytest.param("sklearn", "regression", sklearn_regression, id="sklearn regression"),
    pytest.param("sklearn", "multiclass", sklearn_pipeline("category"), id="sklearn pipeline category"),
    pytest.param("sklearn", "multiclass", sklearn_pipeline("str"), id="sklearn pipeline text"),
    pytest.param("sklearn", "binary", sklearn_from_dtype, id="sklearn categories by dtype"),
    pytest.param("onnx", "multiclass", onnx_linear(3), id="onnx multiclass"),
    pytest.param("onnx", "regression", onnx_linear(1), id="onnx regression"),
    pytest.param("constant", "binary", constant, id="constant"),
]


def test_every_flavour_has_a_case() -> None:
    assert {case.values[0] for case in CASES} == set(plugin_names("flavours"))


@pytest.mark.slow
@pytest.mark.parametrize(("flavour", "task", "fit"), CASES)
def test_a_saved_model_predicts_the_same_to_the_bit(
    flavour: str, task: Task, fit: Callable[[], Any], tmp_path: Path, blob_store: Any
) -> None:
    model, X, unseen, predict = fit()
    saved = save_model(model, tmp_path / "out", X, task)
    assert saved.flavour == flavour
    columns = columns_of(X)
    is_frame = isinstance(unseen, pd.DataFrame)
    named = {one.name: unseen[one.name] if is_frame else unseen[:, place] for place, one in enumerate(columns)}
    matrix = encode(saved.signature, named)
    expected = np.asarray(predict(unseen), dtype=np.float64)
    expected = expected[:, 1] if task == "binary" and expected.ndim == 2 else expected
    for file in saved.files:
        blob_store.put_file(tmp_path / "out" / file.path)
    for source in (tmp_path / "out", blob_store):
        found = load_model(saved, source).predict(matrix)
        assert found.dtype == np.float64
        assert found.tobytes() == expected.tobytes()
    loaded = load_model(saved, blob_store)
    one_by_one = np.stack([loaded.predict(matrix[place : place + 1])[0] for place in range(len(matrix))])
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-6 if flavour == "onnx" else 1e-12)
    assert loaded.predict(matrix[:0]).shape[0] == 0
    if flavour != "constant":
        with pytest.raises(InvalidInput, match="width"):
            loaded.predict(matrix[:, 1:])
    assert len(saved.signature.classes) == {"binary": 2, "multiclass": 3, "regression": 0}[task]


def test_columns_without_dtypes_rebuild_a_frame(tmp_path: Path) -> None:
    model, X, unseen, predict = sklearn_pipeline("category")()
    inputs = [column.to_input() for column in columns_of(X)]
    saved = save_model(model, tmp_path, inputs, "multiclass")
    matrix = encode(saved.signature, {column.name: unseen[column.name] for column in inputs})
    np.testing.assert_array_equal(load_model(saved, tmp_path).predict(matrix), predict(unseen))


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("flavour", plugin_names("flavours"))
@pytest.mark.parametrize("is_zip", [False, True])
def test_a_renamed_pickle_is_refused_and_never_runs(flavour: str, is_zip: bool, tmp_path: Path) -> None:
    plugin = load_plugin("flavours", flavour)()
    model = ConstantModel(0.5)
    files = {"lightgbm": "model.txt", "sklearn": "model.skops", "constant": "constant.json", "onnx": "model.onnx"}
    (tmp_path / "frame.json").write_text('{"dtypes": []}')
    place = tmp_path / files[flavour]
    body = pickle.dumps(Bomb(tmp_path / "touched"))
    if is_zip:
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("schema.json", body)
            archive.writestr("data.pkl", body)
    else:
        place.write_bytes(body)
    with pytest.raises(InvalidInput):
        plugin.load(tmp_path, Signature([], "binary"))
    with pytest.raises(InvalidInput):
        inspect_file(place, tmp_path / "out", "binary", flavour=flavour)
    assert not (tmp_path / "touched").exists()
    assert model.value == 0.5


@pytest.mark.parametrize(
    "function",
    [np.testing.assert_equal, np.load, pd.read_csv, check_memory, partial(np.memmap, "planted", "u1", "w+")],
    ids=["numpy.testing", "numpy.load", "pandas", "sklearn function", "numpy.memmap"],
)
def test_functions_inside_a_model_are_not_trusted(function: Any, tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(function), LinearRegression())
    skops.io.dump(model, tmp_path / "model.skops")
    (tmp_path / "frame.json").write_text('{"dtypes": []}')
    with pytest.raises(InvalidInput, match="not scikit-learn's own"):
        load_plugin("flavours", "sklearn")().load(tmp_path, Signature([], "regression"))


@pytest.mark.parametrize("source", ["filename", "file"])
def test_a_part_that_reads_files_is_refused(source: str, tmp_path: Path) -> None:
    """Its rows would name any file of the machine that predicts."""
    (tmp_path / "words").write_text("a b")
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["one two", "two three"], [0, 1])
    skops.io.dump(model, tmp_path / "model.skops")
    (tmp_path / "frame.json").write_text('{"dtypes": []}')
    flavour = load_plugin("flavours", "sklearn")()
    assert flavour.load(tmp_path, Signature([], "binary"))
    for hidden in (model, VotingClassifier([("a", model)], voting="soft")):
        model.set_params(countvectorizer__input=source)
        skops.io.dump(hidden, tmp_path / "model.skops")
        with pytest.raises(InvalidInput, match=r"reads files: CountVectorizer\(input="):
            flavour.load(tmp_path, Signature([], "binary"))
        with pytest.raises(InvalidInput, match="reads files"):
            flavour.save(hidden, tmp_path, [], "binary")


def test_readers_that_call_what_a_file_names_are_refused(tmp_path: Path) -> None:
    for loader, module, name in (
        ("MethodNode", "sklearn.linear_model._logistic", "LogisticRegression"),
        ("OperatorFuncNode", "operator", "methodcaller"),
        ("ObjectNode", "sklearn.datasets._base", "load_files"),
        ("ObjectNode", "sklearn.utils._mocking", "ArraySlicingWrapper"),
        ("TypeNode", "os", "PathLike"),
        ("FunctionNode", "numpy", "fromfile"),
    ):
        node = {"__class__": name, "__module__": module, "__loader__": loader, "content": {}}
        with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
            archive.writestr("schema.json", json.dumps({"content": [node]}))
        with pytest.raises(InvalidInput, match="not scikit-learn's own"):
            load_plugin("flavours", "sklearn")().inspect(tmp_path / "model.skops", [], "binary", tmp_path)


class Own(LogisticRegression):
    """A class of this file."""


def test_foreign_classes_are_refused_when_saving(tmp_path: Path) -> None:
    X, y, _ = numbers()
    with pytest.raises(InvalidInput, match="not scikit-learn's own"):
        save_model(Own().fit(X, y > 0), tmp_path, X, "binary")
    with pytest.raises(InvalidInput, match="no probabilities"):
        save_model(LinearSVC().fit(X, y > 0), tmp_path, X, "binary")
    with pytest.raises(InvalidInput, match="no flavour"):
        save_model(object(), tmp_path, X, "binary")


def test_a_schema_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (MOST_SCHEMA_BYTES + 1))
    with pytest.raises(InvalidInput, match="unpacks to too much"):
        load_plugin("flavours", "sklearn")().inspect(tmp_path / "model.skops", [], "binary", tmp_path)


def test_levels_of_a_lightgbm_file_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    X, y, _ = numbers()
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, y), 1)
    text = booster.model_to_string()
    (tmp_path / "model.txt").write_text(
        text[: text.index("pandas_categorical:")] + "pandas_categorical:" + "[" * 100_000
    )
    with pytest.raises(InvalidInput, match="no LightGBM model"):
        load_plugin("flavours", "lightgbm")().inspect(tmp_path / "model.txt", [], "regression", tmp_path)


def test_a_lightgbm_file_tells_its_columns(tmp_path: Path) -> None:
    X, y, _ = frame()
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, y > 0)
    model.booster_.save_model(tmp_path / "theirs.txt")
    saved = inspect_file(tmp_path / "theirs.txt", tmp_path / "out", "binary")
    assert [(c.name, c.kind) for c in saved.signature.inputs if c.kind != "number"] == [("carrier", "category")]
    assert saved.signature.inputs[-1].categories == ["AA", "B6", "DL", "UA"]
    shares = feature_importance(load_model(saved, tmp_path / "out"))
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.__getitem__) == "a"
    with pytest.raises(InvalidInput, match="task"):
        inspect_file(tmp_path / "theirs.txt", tmp_path / "out", "multiclass")


def test_a_lightgbm_model_reads_columns_by_name_whatever_order_it_was_fitted_in(tmp_path: Path) -> None:
    X, y, unseen = frame()
    X, unseen = (table.rename(columns={"b": "b b"}) for table in (X, unseen))
    turned = X[["carrier", "n", "b b", "late", "c", "a"]]
    model = lightgbm.LGBMClassifier(n_estimators=20, verbose=-1).fit(turned, y > 0)
    saved = save_model(model, tmp_path, columns_of(X), "binary")
    assert [column.name for column in saved.signature.inputs] == list(turned.columns)
    matrix = encode(saved.signature, {name: unseen[name].tolist() for name in unseen})
    expected = model.predict_proba(unseen[list(turned.columns)])[:, 1]
    assert load_model(saved, tmp_path).predict(matrix).tolist() == expected.tolist()
    bare = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X.drop(columns="carrier").to_numpy(float), y > 0)
    names = [column for column in columns_of(X) if column.name != "carrier"]
    assert [c.name for c in save_model(bare, tmp_path, names, "binary").signature.inputs] == [c.name for c in names]
    other = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X.rename(columns={"a": "log_a"}), y > 0)
    with pytest.raises(InvalidInput, match="fitted on a column") as refused:
        save_model(other, tmp_path, columns_of(X), "binary")
    assert refused.value.value == "log_a"


@pytest.mark.parametrize("make", [lightgbm.LGBMClassifier, LogisticRegression])
def test_a_model_that_was_never_fitted_is_told_so(make: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="this model is not fitted") as refused:
        save_model(make(), tmp_path, columns_of(pd.DataFrame(numbers()[0])), "binary")
    assert refused.value.value == make.__name__


def test_a_lightgbm_model_that_answers_margins_is_no_classifier(tmp_path: Path) -> None:
    def margins(y: Any, raw: Any) -> Any:
        p = 1 / (1 + np.exp(-raw))
        return p - y, p * (1 - p)

    X, y, _ = numbers()
    model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, objective=margins).fit(X, (y > 0).astype(float))
    with pytest.raises(InvalidInput, match="answers margins"):
        save_model(model, tmp_path, columns_of(pd.DataFrame(X)), "binary")
    model.booster_.save_model(tmp_path / "theirs.txt")
    with pytest.raises(InvalidInput, match="answers margins"):
        inspect_file(tmp_path / "theirs.txt", tmp_path / "out", "binary")


def test_classes_that_are_whole_numbers_are_named_so_whatever_held_them(tmp_path: Path) -> None:
    X, y, _ = numbers()
    columns = [TrainingColumn(f"x{place}", "number") for place in range(X.shape[1])]
    for labels in (y, y.astype(float)):
        for model in (lightgbm.LGBMClassifier(n_estimators=2, verbose=-1), LogisticRegression()):
            assert save_model(model.fit(X, labels), tmp_path, columns, "multiclass").signature.classes == [
                "0",
                "1",
                "2",
            ]


def test_levels_that_lightgbm_coded_are_in_the_signature(tmp_path: Path) -> None:
    X, y, _ = frame()
    saved = save_model(lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y > 0), tmp_path, X, "binary")
    assert saved.signature.inputs[-1].categories == ["AA", "B6", "DL", "UA"]
    assert saved.signature.inputs[-2].kind == "boolean"
    wrong = [column for column in columns_of(X) if column.name != "carrier"]
    with pytest.raises(InvalidInput, match="number of columns"):
        save_model(lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y > 0), tmp_path, wrong, "binary")
