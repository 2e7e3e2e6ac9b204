"""Performance: quality of each variant on matured labels, for a window, a span and its segments, and its value.

A *score row* is one labelled prediction of one variant: ``variant, score, label`` and a text ``s.<column>`` for each
segment column. For multiclass ``score`` is the probability that was given to the observed class, and ``label`` says
(1.0 or 0.0) whether that class was the answer.
"""

import math
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopwright.kernel.expressions import evaluate_expression
from loopwright.kernel.storable import storable_text
from loopwright.kernel.tasks import class_name
from loopwright.monitoring.types import MonitorSpec, Performance
from loopwright.registry import metrics
from loopwright.store.streams import FEATURE_PREFIX

SEGMENT_PREFIX = "s."
LEAST_SEGMENT_LABELS = 100
"""A segment with fewer labels shows no number."""
MOST_LEVELS = 20
REST = "(rest)"
_LETTERS_OF_LEVEL = 100
"""Of a level's name: whoever may ask for a prediction chooses what stands in the log."""
Floats = npt.NDArray[np.float64]


class _Answer(msgspec.Struct):
    label: str = msgspec.field(name="class", default="")
    probabilities: dict[str, float] = {}


_decode = msgspec.json.Decoder(_Answer | str).decode


def _read_answer(text: str) -> _Answer:
    """Read a class with the probability of each; models that run elsewhere may answer the class alone."""
    found = _decode(text)
    return _Answer(found, {found: 1.0}) if isinstance(found, str) else found


def score_schema(segments: list[str]) -> pl.Schema:
    """Return the columns of score rows."""
    fixed: dict[str, pl.DataType] = {"variant": pl.String(), "score": pl.Float64(), "label": pl.Float64()}
    return pl.Schema({**fixed, **{SEGMENT_PREFIX + name: pl.String() for name in segments}})


def score_rows(labelled: pl.DataFrame, task: str, segments: list[str]) -> pl.DataFrame:
    """Return the score rows of labelled predictions.

    Args:
        labelled: ``variant, score, answer, label, label_text`` and ``f.<name>`` of the segment columns.
        task: binary, multiclass or regression.
        segments: Names of the segment columns.
    """
    if task == "multiclass":
        labelled = _judge_classes(labelled)
    usable = pl.col("score").is_finite() & pl.col("label").is_finite()
    if task == "binary":
        usable = usable & pl.col("label").is_in([0.0, 1.0])
    texts = [_as_text(labelled.get_column(FEATURE_PREFIX + name)).alias(SEGMENT_PREFIX + name) for name in segments]
    kept = labelled.lazy().with_columns(texts).filter(usable)
    names = score_schema(segments).names()
    # In one order, whatever the ids are and however the rows lay in chunks: the same rows are then the same bytes.
    return kept.select(names).sort(names).collect()


def _as_text(column: pl.Series) -> pl.Series:
    """Return values as names of levels: a number by itself alone, so that it has one name in every window."""
    if not column.dtype.is_float():
        return column.cast(pl.String)
    return column.cast(pl.String).str.strip_suffix(".0").replace("-0", "0")


def _judge_classes(labelled: pl.DataFrame) -> pl.DataFrame:
    rows = labelled.filter(pl.col("answer").is_not_null() & pl.col("label_text").is_not_null())
    answers = [_read_answer(text) for text in rows.get_column("answer")]
    observed = rows.get_column("label_text").to_list()
    given = [_share(answer, name) for answer, name in zip(answers, observed, strict=True)]
    hits = [float(class_name(answer.label) == class_name(name)) for answer, name in zip(answers, observed, strict=True)]
    return rows.with_columns(score=pl.Series(given, dtype=pl.Float64), label=pl.Series(hits, dtype=pl.Float64))


def _share(answer: _Answer, observed: str) -> float:
    """Return the probability that an answer gave to what was observed."""
    if observed in answer.probabilities:
        return answer.probabilities[observed]
    named = {class_name(label): share for label, share in answer.probabilities.items()}
    return named.get(class_name(observed), 0.0)


def measure(rows: pl.DataFrame, made: dict[str, int], spec: MonitorSpec, task: str) -> list[Performance]:
    """Return the performance of each variant, in the order of ``made``.

    Args:
        rows: Score rows.
        made: How many predictions each variant made, labelled or not.
        spec: Names the metric, the threshold and the business value.
        task: binary, multiclass or regression.
    """
    scores, labels = rows.get_column("score").to_numpy(), rows.get_column("label").to_numpy()
    found = []
    for variant, count in made.items():
        own = _is_of(rows, variant).to_numpy()
        found.append(_measure_one(scores[own], labels[own], variant, count, spec, task))
    return found


def segment_performance(rows: pl.DataFrame, variant: str, spec: MonitorSpec, task: str) -> dict[str, list[Performance]]:
    """Return performance of one variant by ``column=level``, the 20 commonest levels of each column and the rest.

    Where there are fewer than 100 labels it says how many, and no number.
    """
    own = rows.filter(_is_of(rows, variant))
    scores, labels = own.get_column("score").to_numpy(), own.get_column("label").to_numpy()
    found: dict[str, list[Performance]] = {}
    for column in spec.segments:
        for level, at in _by_level(own.get_column(SEGMENT_PREFIX + column)).items():
            counted = at if len(at) >= LEAST_SEGMENT_LABELS else at[:0]
            performance = _measure_one(scores[counted], labels[counted], variant, len(at), spec, task)
            found[f"{column}={level}"] = [msgspec.structs.replace(performance, labels=len(at))]
    return found


def _is_of(rows: pl.DataFrame, variant: str) -> pl.Series:
    return rows.get_column("variant") == variant


def _by_level(column: pl.Series) -> dict[str, npt.NDArray[np.uint32]]:
    """Return the places of each common level and of the rest, in the order in which they first appear."""
    level = pl.col("level").fill_null("(missing)")
    grouped = column.alias("level").to_frame().with_row_index("at").group_by(level, maintain_order=True).agg("at")
    places = {name: at.to_numpy() for name, at in zip(grouped["level"], grouped["at"], strict=True)}
    common = set(sorted(places, key=lambda name: (-len(places[name]), name))[:MOST_LEVELS])
    named: dict[str, list[npt.NDArray[np.uint32]]] = {}
    for name, at in places.items():
        named.setdefault(storable_text(name, _LETTERS_OF_LEVEL) if name in common else REST, []).append(at)
    return {name: np.sort(np.concatenate(parts)) for name, parts in named.items()}


def _measure_one(scores: Floats, labels: Floats, variant: str, count: int, spec: MonitorSpec, task: str) -> Performance:
    values, intervals = _metrics(scores, labels, spec, task)
    low, high = intervals.get(spec.performance, [None, None])
    value = values.get(spec.performance)
    sum_ = _business_value(scores, labels, spec) if spec.value and len(labels) else None
    return Performance(variant, spec.performance, value, low, high, len(labels), count, sum_)


def _metrics(
    scores: Floats, labels: Floats, spec: MonitorSpec, task: str
) -> tuple[dict[str, float], dict[str, list[float]]]:
    if not len(labels) or not spec.performance:
        return {}, {}
    if task == "multiclass":
        losses = -np.log(np.clip(scores, np.finfo(np.float64).eps, 1.0))
        half = metrics.Z95 * math.sqrt(float(losses.var()) / len(losses))
        loss, hits = float(losses.mean()), int(labels.sum())
        shares = {"accuracy": hits / len(labels), "log_loss": loss}
        return shares, {"accuracy": metrics.wilson(hits, len(labels)), "log_loss": [max(0.0, loss - half), loss + half]}
    if spec.performance != "roc_auc":
        named: Literal["binary", "regression"] = "binary" if task == "binary" else "regression"
        return metrics.evaluate(named, labels, scores, threshold=spec.threshold)
    positives = int(labels.sum())
    # Below two of a class DeLong's variance is nothing, not small.
    if min(positives, len(labels) - positives) < 2:
        return {}, {}
    auc, variance = metrics.delong(labels, scores)
    half = metrics.Z95 * math.sqrt(variance)
    return {"roc_auc": auc}, {"roc_auc": [max(0.0, auc - half), min(1.0, auc + half)]}


def _business_value(scores: Floats, labels: Floats, spec: MonitorSpec) -> float | None:
    counts = msgspec.structs.asdict(metrics.confusion(labels, scores, spec.threshold))
    value = evaluate_expression(spec.value, counts)
    return value if math.isfinite(value) else None
