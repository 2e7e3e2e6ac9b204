"""Measures of quality with 95 % intervals, in numpy alone: for gates, shadow rollouts and monitoring alike.

A measure that is not defined on the rows at hand (ROC AUC of one class) is left out, never 0 or NaN.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.tasks import class_name
from loopwright.registry.types import Task

Vector = NDArray[np.float64]
Interval = list[float]

Z95 = 1.959963984540054
_EPSILON = float(np.finfo(np.float64).eps)


class Difference(msgspec.Struct, frozen=True):
    """Candidate minus champion on the same rows, with a 95 % interval; ``variance`` is that of the difference."""

    value: float
    low: float
    high: float
    variance: float


class Confusion(msgspec.Struct, frozen=True):
    """Counts of a binary decision at a threshold."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


def evaluate(
    task: Task, y: Any, prediction: Any, *, threshold: float = 0.5, classes: Sequence[str] = ()
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Measure predictions against labels.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        y: Labels, shape (n,): 0/1 for binary, class labels (or their places) for multiclass, numbers for regression.
        prediction: P(positive) or values, shape (n,); for multiclass P of each class, shape (n, c).
        threshold: From which P a binary answer is positive.
        classes: Labels of a multiclass prediction's columns, where ``y`` holds labels.

    Returns:
        Measures by name, and 95 % intervals ``[low, high]`` of those that have one.

    Raises:
        InvalidInput: The shapes differ, a value is not finite, or the task has no measures.
    """
    predicted = np.asarray(prediction, dtype=np.float64)
    if task == "multiclass":
        return _evaluate_multiclass(_places(y, classes), predicted)
    truth = np.asarray(y, dtype=np.float64)
    _check(truth, predicted)
    if task == "binary":
        return _evaluate_binary(truth, predicted, threshold)
    if task == "regression":
        return _evaluate_regression(truth, predicted)
    raise InvalidInput("this task has no measures", field="task", value=task, rule="binary, multiclass or regression")


def _evaluate_binary(y: Vector, p: Vector, threshold: float) -> tuple[dict[str, float], dict[str, Interval]]:
    _check_binary(y)
    metrics: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    if y.size == 0:
        return metrics, intervals
    if 0 < y.sum() < y.size:
        metrics["roc_auc"], variance = delong(y, p)
        # With a single row of a class the variance of its part is unknown, not nothing.
        if 2 <= y.sum() <= y.size - 2:
            intervals["roc_auc"] = _normal(metrics["roc_auc"], variance, 0.0, 1.0)
    if p.min() >= 0 and p.max() <= 1:
        for name, losses in (("log_loss", _log_losses(y, p)), ("brier", (p - y) ** 2)):
            metrics[name] = float(losses.mean())
            intervals[name] = _normal(metrics[name], _variance_of_mean(losses), 0.0, np.inf)
    counts = confusion(y, p, threshold)
    hits = counts.true_positive
    shares = {
        "accuracy": (hits + counts.true_negative, y.size),
        "precision": (hits, hits + counts.false_positive),
        "recall": (hits, hits + counts.false_negative),
    }
    for name, (part, whole) in shares.items():
        if whole:
            metrics[name] = part / whole
            intervals[name] = wilson(part, whole)
    return metrics, intervals


def _evaluate_multiclass(y: NDArray[np.int64], p: Vector) -> tuple[dict[str, float], dict[str, Interval]]:
    if p.ndim != 2 or len(p) != len(y) or not np.isfinite(p).all():
        raise InvalidInput(
            "predictions do not fit the labels", field="prediction", value=p.shape, rule="finite, (n, c)"
        )
    if y.size == 0:
        return {}, {}
    answer = p.argmax(axis=1)
    hits = int((answer == y).sum())
    # A label that the model has no class for is certainly missed.
    is_known = (y >= 0) & (y < p.shape[1])
    given = np.where(is_known, p[np.arange(len(y)), np.where(is_known, y, 0)], 0.0)
    losses = -np.log(np.clip(given, _EPSILON, 1.0))
    scores = []
    for index in range(p.shape[1]):
        counted = int((answer == index).sum() + (y == index).sum())
        if counted:
            scores.append(2 * int(((answer == index) & (y == index)).sum()) / counted)
    metrics = {"accuracy": hits / y.size, "log_loss": float(losses.mean()), "macro_f1": float(np.mean(scores))}
    low_loss = _normal(metrics["log_loss"], _variance_of_mean(losses), 0.0, np.inf)
    return metrics, {"accuracy": wilson(hits, y.size), "log_loss": low_loss}


def _evaluate_regression(y: Vector, prediction: Vector) -> tuple[dict[str, float], dict[str, Interval]]:
    if y.size == 0:
        return {}, {}
    errors = prediction - y
    squares, sizes = errors**2, np.abs(errors)
    mse = float(squares.mean())
    metrics = {"rmse": mse**0.5, "mae": float(sizes.mean())}
    low, high = _normal(mse, _variance_of_mean(squares), 0.0, np.inf)
    intervals = {
        "rmse": [low**0.5, high**0.5],
        "mae": _normal(metrics["mae"], _variance_of_mean(sizes), 0.0, np.inf),
    }
    spread = float(((y - y.mean()) ** 2).sum())
    if spread > 0:
        metrics["r2"] = 1.0 - float(squares.sum()) / spread
    return metrics, intervals


def roc_auc(y: Any, score: Any) -> float:
    """Return the share of (positive, negative) pairs that the score puts in order, ties counted half.

    Raises:
        InvalidInput: There is only one class.
    """
    return delong(np.asarray(y, dtype=np.float64), np.asarray(score, dtype=np.float64))[0]


def delong(y: Vector, score: Vector) -> tuple[float, float]:
    """Return ROC AUC and its variance in O(n log n).

    DeLong, DeLong, Clarke-Pearson 1988 by the midranks of Sun and Xu 2014 (IEEE Signal Processing Letters 21, 1389).
    """
    auc, positives, negatives = _components(y, score)
    return auc, _variance_of_mean(positives) + _variance_of_mean(negatives)


def delong_difference(y: Any, champion: Any, candidate: Any) -> Difference:
    """Return how much larger the candidate's ROC AUC is than the champion's on the same rows.

    Args:
        y: Labels 0/1, shape (n,).
        champion: Scores, shape (n,).
        candidate: Scores, shape (n,).

    Raises:
        InvalidInput: There is only one class, or a score is not finite.
    """
    truth = np.asarray(y, dtype=np.float64)
    one, positives_one, negatives_one = _components(truth, np.asarray(champion, dtype=np.float64))
    two, positives_two, negatives_two = _components(truth, np.asarray(candidate, dtype=np.float64))
    variance = _variance_of_mean(positives_two - positives_one) + _variance_of_mean(negatives_two - negatives_one)
    low, high = _normal(two - one, variance, -1.0, 1.0)
    return Difference(two - one, low, high, variance)


def _components(y: Vector, score: Vector) -> tuple[float, Vector, Vector]:
    """Return ROC AUC and DeLong's structural components of positives and negatives.

    A component is the share of the other class that a row beats. By definition that compares every pair; by midranks
    one sort of all scores is enough: a row's rank among all, less its rank among its own class, is how many of the
    other class lie below it, ties counted half.
    """
    _check(y, score)
    _check_binary(y)
    is_positive = y == 1
    m = int(is_positive.sum())
    n = len(y) - m
    if m == 0 or n == 0:
        raise InvalidInput("ROC AUC needs both classes", field="y", rule="at least one 0 and one 1")
    # Ties share a midrank, so everything is counted by groups of equal scores, and one sort serves both classes.
    order = np.argsort(score)
    ordered = score[order]
    begins = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    edges = np.append(np.flatnonzero(begins), len(score))
    group = np.empty(len(score), dtype=np.int64)
    group[order] = np.cumsum(begins) - 1
    among_positives = np.concatenate(([0], np.cumsum(is_positive[order])))[edges]
    ranks = _midranks(edges)
    above = (ranks - _midranks(among_positives))[group[is_positive]] / n
    below = 1.0 - (ranks - _midranks(edges - among_positives))[group[~is_positive]] / m
    auc = (float(ranks[group[is_positive]].sum()) - m * (m + 1) / 2) / (m * n)
    return auc, above, below


def _midranks(edges: NDArray[np.int64]) -> Vector:
    """Return for each group of equal values the mean of their ranks from 1, given how many values lie before each."""
    ranks: Vector = (edges[:-1] + edges[1:] + 1) / 2
    return ranks


def confusion(y: Any, score: Any, threshold: float = 0.5) -> Confusion:
    """Return the counts of a decision: positive from ``threshold`` on."""
    is_true = np.asarray(y, dtype=np.float64) == 1
    is_said = np.asarray(score, dtype=np.float64) >= threshold
    hits, said, true = int((is_true & is_said).sum()), int(is_said.sum()), int(is_true.sum())
    return Confusion(hits, said - hits, len(is_true) - said - true + hits, true - hits)


def wilson(part: int, whole: int) -> Interval:
    """Return the 95 % interval of a share: Wilson 1927, score interval without continuity correction.

    The textbook interval around the share is empty at 0 and 1, which few rows reach easily; this one is not.
    """
    share, square = part / whole, Z95 * Z95
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    half = Z95 / (1 + square / whole) * (share * (1 - share) / whole + square / (4 * whole * whole)) ** 0.5
    return [max(0.0, middle - half), min(1.0, middle + half)]


def _log_losses(y: Vector, p: Vector) -> Vector:
    clipped = np.clip(p, _EPSILON, 1 - _EPSILON)
    return -(y * np.log(clipped) + (1 - y) * np.log1p(-clipped))


def _variance_of_mean(values: Vector) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def _normal(value: float, variance: float, lowest: float, highest: float) -> Interval:
    half = Z95 * variance**0.5  # cut at what the measure can be: an interval that leaves it says nothing
    return [max(lowest, value - half), min(highest, value + half)]


def _places(y: Any, classes: Sequence[str]) -> NDArray[np.int64]:
    if not classes:
        return np.asarray(y, dtype=np.int64)
    place = {class_name(label): number for number, label in enumerate(classes)}
    labels = y.tolist() if hasattr(y, "tolist") else y
    return np.array([place.get(class_name(label), -1) for label in labels], dtype=np.int64)


def _check(y: Vector, prediction: Vector) -> None:
    if y.ndim != 1 or y.shape != prediction.shape:
        raise InvalidInput(
            "labels and predictions do not match", field="prediction", value=prediction.shape, rule=f"shape {y.shape}"
        )
    if not (np.isfinite(y).all() and np.isfinite(prediction).all()):
        raise InvalidInput("labels and predictions must be numbers", field="prediction", rule="no NaN, no infinity")


def _check_binary(y: Vector) -> None:
    if not ((y == 0) | (y == 1)).all():
        raise InvalidInput("a binary label is 0 or 1", field="y", value=y[(y != 0) & (y != 1)][:3].tolist())
