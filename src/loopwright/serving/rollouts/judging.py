"""Judging one look at a rollout step from the rows of the prediction log. Pure functions of frames."""

from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from loopwright.kernel.plugins import load_plugin
from loopwright.serving import predictions
from loopwright.serving.rollouts.guards import exposures_of, judge_harm
from loopwright.serving.statistics import in_words, paired
from loopwright.serving.types import CANDIDATE, CHAMPION, CanaryStep, JudgeSpec, ShadowStep, StepVerdict, verdict_alone

COLUMNS = [
    *("prediction_id", "release", "variant", "is_shadow", "model_version", "event_at", "recorded_at"),
    *("latency_us", "score", "answer", "error", "bucket"),
]
"""What a look reads of the prediction log."""


def judge(spec: JudgeSpec, rows: pl.DataFrame, labels: pl.DataFrame, before: pl.DataFrame) -> list[StepVerdict]:
    """Return what one look finds.

    Args:
        spec: The step and the stretch of time.
        rows: Rows of the step's releases, with ``COLUMNS``.
        labels: ``prediction_id, label, label_text``, one a prediction.
        before: Served rows of the champion before the step.
    """
    rows = predictions.latest(rows.lazy()).collect()
    if isinstance(spec.step, ShadowStep):
        found = _judge_shadow(spec, spec.step, rows, labels)
    else:
        found = _judge_canary(spec.step, rows, labels, before)
    return [msgspec.structs.replace(verdict, step=spec.index, at_us=spec.end_at) for verdict in found]


def _judge_shadow(spec: JudgeSpec, step: ShadowStep, rows: pl.DataFrame, labels: pl.DataFrame) -> list[StepVerdict]:
    champion = rows.filter((pl.col("variant") == CHAMPION) & ~pl.col("is_shadow"))
    candidate = rows.filter((pl.col("variant") == CANDIDATE) & pl.col("is_shadow"))
    # Both answered the same requests, so what makes some of them hard cancels out: a week of labels is then enough.
    pairs = champion.join(candidate, on="prediction_id", suffix="_candidate")
    verdicts = [judge_quality(spec, step, pairs.join(labels, on="prediction_id"))]
    if len(pairs):
        verdicts.append(_judge_failures(pairs))
    return verdicts


def _judge_failures(pairs: pl.DataFrame) -> StepVerdict:
    """Judge errors on the same requests. Quality has its own least number, so few exposures without harm may pass."""
    sides = {CHAMPION: "error", CANDIDATE: "error_candidate"}
    failures = pl.concat(
        pairs.select("recorded_at", variant=pl.lit(variant), is_harmed=pl.col(column).is_not_null())
        for variant, column in sides.items()
    )
    return judge_harm("error_rate", failures, 0.5, "errors on the same requests", needs_proof=False)


def judge_quality(spec: JudgeSpec, step: ShadowStep, pairs: pl.DataFrame) -> StepVerdict:
    """Judge non-inferiority on labelled pairs: the 95 % interval of the paired difference against the margin.

    Go if the candidate is certainly less than the margin worse, abort if it is certainly more, else undecided.
    """
    labels, champion, candidate = _values(spec, pairs)
    metric, rows = step.no_worse, len(labels)
    if rows < step.least_labels:
        message = f"{metric}: only {rows} of at least {step.least_labels} labelled requests were answered by both"
        return verdict_alone(metric, "undecided", message, rows)
    found = paired(metric, labels, champion, candidate)
    if found is None:
        message = f"{metric}: has no value on these {rows} rows; their labels are all alike"
        return verdict_alone(metric, "undecided", message, rows)
    # Not inferior, not better: a retrained model that is merely as good shall pass, but only once that is shown.
    verdict: Literal["go", "abort", "undecided"] = "undecided"
    words = "neither shown to be worse nor not to be"
    if found.low > -step.margin:
        verdict, words = "go", "not worse"
    elif found.high < -step.margin:
        verdict, words = "abort", "worse"
    message = (
        f"{metric} of version {spec.version} {found.candidate:.4f}, of the champion {found.champion:.4f} on the same "
        f"{rows:,} labelled requests: {in_words(found.difference)} (95 % interval of the difference {found.low:+.4f} "
        f"to {found.high:+.4f}), margin {step.margin:g}: {words}"
    )
    return StepVerdict(
        0, metric, found.champion, found.candidate, found.difference, found.low, found.high, verdict, message, rows
    )


def _values(spec: JudgeSpec, pairs: pl.DataFrame) -> tuple[Any, Any, Any]:
    """Return labels and both scores as float64 (n,); for classes, 1.0 where the answer is right and labels all 1.0."""
    if spec.task == "multiclass":
        kept = pairs.drop_nulls(["label_text", "answer", "answer_candidate"])
        right = [
            np.array([answered_class(answer) for answer in kept[column]]) == kept["label_text"].to_numpy()
            for column in ("answer", "answer_candidate")
        ]
        return np.ones(len(kept)), right[0].astype(np.float64), right[1].astype(np.float64)
    kept = pairs.drop_nulls(["label", "score", "score_candidate"])
    return tuple(kept[column].to_numpy() for column in ("label", "score", "score_candidate"))  # type: ignore[return-value]


def answered_class(answer: str) -> str:
    """Return the class an answer names: a JSON text, or a document with ``class``.

    >>> answered_class('"cat"'), answered_class('{"class": "dog", "probabilities": {"cat": 0.2, "dog": 0.8}}')
    ('cat', 'dog')
    """
    document = msgspec.json.decode(answer)
    return str(document.get("class") if isinstance(document, dict) else document)


def _judge_canary(
    step: CanaryStep, rows: pl.DataFrame, labels: pl.DataFrame, before: pl.DataFrame
) -> list[StepVerdict]:
    # Without a bucket the caller chose the variant, which is no fair comparison.
    is_drawn = ~pl.col("is_shadow") & pl.col("bucket").is_not_null()
    served = rows.filter(is_drawn & pl.col("variant").is_in([CHAMPION, CANDIDATE]))
    answered = served.filter(pl.col("variant") == CANDIDATE)
    count = len(exposures_of(answered))
    is_enough = count >= step.least_rows
    message = (
        f"the candidate was exposed {count:,} times ({len(answered):,} rows; those answered together count once), "
        f"at least {step.least_rows:,} are needed"
    )
    exposure = verdict_alone("exposure", "go" if is_enough else "undecided", message, len(answered))
    served = served.join(labels.select("prediction_id", "label", "label_text"), on="prediction_id", how="left")
    return [exposure, *(load_plugin("guards", guard)(served, before, step.weight) for guard in step.guard)]
