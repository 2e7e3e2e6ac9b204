"""Measures agree with scikit-learn, and their intervals hold what they promise."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from loopwright.kernel.errors import InvalidInput
from loopwright.registry import gain, metrics
from loopwright.registry.types import MEASURES


def rows(seed: int, size: int = 400, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    y = (chance.random(size) < 0.3).astype(float)
    score = 1 / (1 + np.exp(-(y + chance.normal(size=size))))
    return y, np.round(score * levels) / levels if levels else score


def test_every_measure_of_a_task_is_known_by_name() -> None:
    y, score = rows(1)
    found = {
        "binary": metrics.evaluate("binary", y, score),
        "multiclass": metrics.evaluate("multiclass", y, np.column_stack([1 - score, score])),
        "regression": metrics.evaluate("regression", y, score),
    }
    assert {task: tuple(sorted(measured)) for task, (measured, _) in found.items()} == MEASURES


@pytest.mark.parametrize("levels", [0, 3, 20])
def test_binary_measures_match_scikit_learn(levels: int) -> None:
    y, score = rows(1, levels=levels)
    found, intervals = metrics.evaluate("binary", y, score)
    answer = score >= 0.5
    expected = {
        "roc_auc": oracle.roc_auc_score(y, score),
        "log_loss": oracle.log_loss(y, score),
        "brier": oracle.brier_score_loss(y, score),
        "accuracy": oracle.accuracy_score(y, answer),
        "precision": oracle.precision_score(y, answer),
        "recall": oracle.recall_score(y, answer),
    }
    assert found == pytest.approx(expected, abs=1e-12)
    assert set(intervals) == set(found)
    assert all(low <= found[name] <= high for name, (low, high) in intervals.items())
    truth = oracle.confusion_matrix(y, answer)
    counts = metrics.confusion(y, score)
    assert [
        counts.true_negative,
        counts.false_positive,
        counts.false_negative,
        counts.true_positive,
    ] == truth.ravel().tolist()


def test_regression_measures_match_scikit_learn() -> None:
    chance = np.random.default_rng(2)
    y = chance.normal(size=300) * 9
    prediction = y + chance.normal(size=300)
    found, intervals = metrics.evaluate("regression", y, prediction)
    expected = {
        "rmse": oracle.root_mean_squared_error(y, prediction),
        "mae": oracle.mean_absolute_error(y, prediction),
        "r2": oracle.r2_score(y, prediction),
    }
    assert found == pytest.approx(expected, abs=1e-12)
    assert intervals["rmse"][0] < 1 < intervals["rmse"][1]


def test_multiclass_measures_match_scikit_learn() -> None:
    chance = np.random.default_rng(3)
    y = chance.integers(0, 3, size=200)
    p = chance.dirichlet([1, 1, 1], size=200)
    found, _ = metrics.evaluate("multiclass", np.array(["a", "b", "c"])[y], p, classes=["a", "b", "c"])
    answer = p.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(y, answer))
    assert found["log_loss"] == pytest.approx(oracle.log_loss(y, p))
    assert found["macro_f1"] == pytest.approx(oracle.f1_score(y, answer, average="macro"))
    for labels, classes in ((y.astype(float), "012"), (y, ["0.0", "1.0", "2.0"]), (y.astype(str), "012")):
        assert metrics.evaluate("multiclass", labels, p, classes=list(classes))[0] == found
    assert metrics.evaluate("multiclass", ["z"] * 4, p[:4], classes=["a", "b", "c"])[0]["accuracy"] == 0


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30))
def test_auc_is_the_share_of_ordered_pairs(pairs: list[tuple[bool, int]]) -> None:
    y = np.array([float(label) for label, _ in pairs])
    score = np.array([float(value) for _, value in pairs])
    if y.min() == y.max():
        with pytest.raises(InvalidInput, match="both classes"):
            metrics.roc_auc(y, score)
        return
    gaps = score[y == 1][:, None] - score[y == 0][None, :]
    assert metrics.roc_auc(y, score) == pytest.approx(float(((gaps > 0) + 0.5 * (gaps == 0)).mean()))


def test_delong_variance_is_that_of_the_definition() -> None:
    y, score = rows(4, size=80, levels=10)
    gaps = score[y == 1][:, None] - score[y == 0][None, :]
    kernel = (gaps > 0) + 0.5 * (gaps == 0)
    above, below = kernel.mean(axis=1), kernel.mean(axis=0)
    expected = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    assert metrics.delong(y, score)[1] == pytest.approx(expected, rel=1e-12)


def test_intervals_cover_as_often_as_they_say() -> None:
    hits = differs = 0
    truth = 0.760250  # P(N(1,1) > N(0,1))
    for seed in range(300):
        chance = np.random.default_rng(seed)
        y = np.repeat([0.0, 1.0], 120)
        signal = y + chance.normal(size=240)
        _, intervals = metrics.evaluate("binary", y, 1 / (1 + np.exp(-signal)))
        hits += intervals["roc_auc"][0] <= truth <= intervals["roc_auc"][1]
        noise = chance.normal(size=(2, 240)) * 0.5
        difference = metrics.delong_difference(y, signal + noise[0], signal + noise[1])
        differs += not difference.low <= 0 <= difference.high
    assert 0.91 <= hits / 300 <= 0.98
    assert differs / 300 <= 0.09


def test_a_model_against_itself_differs_by_nothing() -> None:
    y, score = rows(5)
    assert metrics.delong_difference(y, score, score) == metrics.Difference(0.0, 0.0, 0.0, 0.0)


def test_what_is_not_defined_is_left_out() -> None:
    found, intervals = metrics.evaluate("binary", [0, 0], [0.1, 0.2])
    assert "roc_auc" not in found
    assert "precision" not in found
    assert found["accuracy"] == 1.0
    assert "roc_auc" not in intervals
    assert metrics.evaluate("binary", [], []) == ({}, {})
    assert "r2" not in metrics.evaluate("regression", [1, 1], [1, 2])[0]


@pytest.mark.parametrize(
    ("y", "prediction", "message"),
    [([0, 1], [0.5], "do not match"), ([0, 2], [0.5, 0.5], "0 or 1"), ([0, 1], [0.5, np.nan], "must be numbers")],
)
def test_odd_rows_are_refused(y: list[float], prediction: list[float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        metrics.evaluate("binary", y, prediction)


def test_gain_knows_the_direction() -> None:
    assert gain("roc_auc", 0.7, 0.8) == pytest.approx(0.1)
    assert gain("rmse", 2.0, 3.0) == -1.0


def work_of(size: int) -> float:
    """Return the CPU seconds of this process that comparing two models on so many rows takes, least of three."""
    y, score = rows(6, size=size)
    spent = []
    for _ in range(3):
        began = time.process_time()
        metrics.delong_difference(y, score, score[::-1])
        spent.append(time.process_time() - began)
    return min(spent)


def test_work_grows_with_rows_and_not_with_their_square() -> None:
    assert work_of(800_000) < 6 * 16 * work_of(50_000)
