"""What runs in a child process beside a model: evaluation, the facts that gates look at, answers to rows of a batch."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from loopwright.features import TrainingSet
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.loop.training.codecs import LoadedModel
from loopwright.registry import InputColumn, encoding, metrics

Answer = float | list[float]

LATENCY_ROUNDS, LATENCY_CALLS = 5, 200
"""Single-row predictions timed for the latency gate: the quietest of some rounds, for what else the machine does is not
the model's doing."""


def get_ready(champion: LoadedModel | None = None) -> None:
    """Do nothing: with this module imported and a model loaded, the child that evaluates and judges is up."""


def evaluate(model: LoadedModel, rows: TrainingSet) -> dict[str, Any]:
    """Measure a model on rows it has not seen; returns metrics, 95 % intervals and the number of rows."""
    found, intervals = measure(model, rows)
    return {"metrics": found, "intervals": intervals, "rows": len(rows)}


def judge(
    model: LoadedModel,
    rows: TrainingSet,
    trained_on: TrainingSet | None = None,
    champion: LoadedModel | None = None,
    champion_trained_on: TrainingSet | None = None,
) -> dict[str, Any]:
    """Return the facts gates look at: both models on the same rows, overlap with either's training rows, latency.

    Args:
        model: The version under judgement.
        rows: Held-out rows.
        trained_on: Rows it was fitted on; None if unknown, and so is then the overlap.
        champion: The version that serves; None before the first. Rows without its columns do not measure it.
        champion_trained_on: Rows the champion was fitted on; None if unknown.

    Raises:
        InvalidInput: The rows lack a column the version reads.
    """
    if absent := _absent(rows, model):
        raise InvalidInput("the rows lack columns that the version reads", field="rows", value=", ".join(absent[:10]))
    found, intervals = measure(model, rows)
    champion_metrics = None if champion is None or _absent(rows, champion) else measure(champion, rows)[0]
    return {
        "rows": len(rows),
        "metrics": found,
        "intervals": intervals,
        "champion_metrics": champion_metrics,
        "overlap_rows": overlap(rows, trained_on),
        "champion_overlap_rows": 0 if champion is None else overlap(rows, champion_trained_on),
        "latency_p99_ms": latency_p99_ms(model, rows),
    }


def measure(model: LoadedModel, rows: TrainingSet) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return metrics and intervals of a model on rows."""
    matrix = encoding.encode(model.signature, _columns(rows.polars(), model))
    prediction = model.predictor.predict(matrix)
    signature = model.signature
    return metrics.evaluate(signature.task, rows.polars()["label"].to_numpy(), prediction, classes=signature.classes)


def overlap(rows: TrainingSet, trained_on: TrainingSet | None) -> int | None:
    """Count the rows that are also among the training rows, by row id; None where those are unknown."""
    return None if trained_on is None else int(rows.row_ids.is_in(trained_on.row_ids.implode()).sum())


def latency_p99_ms(model: LoadedModel, rows: TrainingSet) -> float:
    """Return the 99th percentile of answering one encoded row, in milliseconds.

    What others do on the machine does not count: the time that this thread waited for a processor is left out, where
    the kernel tells it (``schedstat`` of Linux), and of several rounds the quietest is taken.
    """
    frame = rows.polars().head(1)
    columns = _columns(frame, model)
    rounds = []
    for _ in range(LATENCY_ROUNDS + 1):  # the first one warms up
        spent = []
        for _ in range(LATENCY_CALLS):
            waited, busy, started = _waited_s(), time.thread_time(), time.perf_counter()
            model.predictor.predict(encoding.encode(model.signature, columns))
            took = time.perf_counter() - started
            spent.append(max(took - (_waited_s() - waited), min(time.thread_time() - busy, took)))
        rounds.append(float(1000 * np.percentile(spent, 99)))
    return min(rounds[1:])


def _waited_s() -> float:
    """Return for how long this thread has waited for a processor since it began, seconds; 0 where nobody knows."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _absent(rows: TrainingSet, model: LoadedModel) -> list[str]:
    return [input_column.name for input_column in model.signature.inputs if input_column.name not in rows.columns]


def _columns(frame: pl.DataFrame, model: LoadedModel) -> dict[str, Any]:
    return {input_column.name: frame[input_column.name].to_list() for input_column in model.signature.inputs}


def compute_again(model: LoadedModel, names: list[str], values: list[Any], logged: Answer | None) -> dict[str, Any]:
    """Compute an answer again and compare it with the logged one; called in a child process, as any model is.

    Args:
        model: The version that answered.
        names: Logged features.
        values: Their values, in the same order; booleans were logged as 0.0 and 1.0.
        logged: The logged value, or probability of each class; None where the log holds no answer.
    """
    features = dict(zip(names, values, strict=True))
    columns = {column.name: [_as_input(column, features[column.name])] for column in model.signature.inputs}
    computed = np.asarray(model.predictor.predict(encoding.encode(model.signature, columns)), np.float64)[0]
    is_same = logged is not None and np.asarray(logged, np.float64).tobytes() == computed.tobytes()
    verdict = "the same to the bit" if is_same else "NOT the same"
    if logged is None:
        verdict = "nothing to compare it with: the log holds no answer"
    value: Answer = computed.tolist()
    sentence = f"replayed from the records: {value!r}, {verdict}"
    return {"logged": logged, "computed": value, "is_same": is_same, "sentence": sentence}


def answer(model: LoadedModel, rows: pl.DataFrame) -> pl.DataFrame:
    """Answer rows of a batch.

    Returns:
        ``score``, or for a model with several outputs ``answer``: the likeliest class and the probability of each.

    Raises:
        InvalidInput: A value has the wrong type, or the model does not answer every row once.
    """
    scores = model.predictor.predict(encoding.encode(model.signature, {name: rows[name] for name in rows.columns}))
    if len(scores) != rows.height:
        raise InvalidInput("the model does not answer every row once", field="model", value=len(scores))
    no_text = pl.Series([None] * rows.height, dtype=pl.String())
    if scores.ndim == 1:
        return pl.DataFrame({"score": pl.Series(scores, dtype=pl.Float64()), "answer": no_text})
    classes = model.signature.classes
    texts = [_as_text(classes, row) for row in scores.tolist()]
    return pl.DataFrame({"score": no_text.cast(pl.Float64()), "answer": pl.Series(texts, dtype=pl.String())})


def _as_text(classes: list[str], row: list[float]) -> str:
    likeliest = classes[max(range(len(row)), key=row.__getitem__)]
    return to_json({"class": likeliest, "probabilities": dict(zip(classes, row, strict=True))}).decode()


def _as_input(column: InputColumn, value: Any) -> Any:
    return bool(value) if column.kind == "boolean" and value is not None else value
