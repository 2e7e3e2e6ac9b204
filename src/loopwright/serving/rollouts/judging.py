"""Judging one look at a rollout step from the rows of the prediction log. Pure functions of frames."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl

from loopwright.kernel.plugins import load_plugin
from loopwright.kernel.tasks import class_name
from loopwright.serving.predictions import failed_itself
from loopwright.serving.rollouts.guards import Guard
from loopwright.serving.rollouts.harm import NEVER, Exposures, judge_harm
from loopwright.serving.statistics import Floats, in_words, paired
from loopwright.serving.types import (
    CANDIDATE,
    CHAMPION,
    CanaryStep,
    JudgeLook,
    RolloutStep,
    ShadowStep,
    StepVerdict,
    verdict_alone,
)


class LookPart(NamedTuple):
    """Some of the rows that a look sees.

    Args:
        rows: Rows of the step's releases, each answer once, with ``columns_of`` the step, in the order of their ids.
        labels: ``prediction_id, label, label_text``, one a prediction; empty where the step looks at none.
        closed_before: Rows of later parts were recorded at this moment or after it, microseconds UTC.
    """

    rows: pl.DataFrame
    labels: pl.DataFrame
    closed_before: int = NEVER


def columns_of(step: RolloutStep, task: str) -> list[str]:
    """Return what a look reads of the prediction log, and of ``label`` and ``label_text`` what it needs too."""
    named = ["prediction_id", "release", "variant", "is_shadow", "recorded_at"]
    if isinstance(step, ShadowStep):
        further = ("error", "answer" if task == "multiclass" else "score", "label", "label_text")
    else:
        further = ("bucket", *(name for guard in step.guard for name in load_plugin("guards", guard).reads))
    return list(dict.fromkeys([*named, *further]))


def judge(spec: JudgeLook, parts: Iterable[LookPart], before: pl.LazyFrame) -> list[StepVerdict]:
    """Return what one look finds.

    Args:
        spec: The step and the stretch of time.
        parts: Its rows, some at a time; each answer is in one of them, with all that was recorded of it.
        before: Served rows of the champion before the step.
    """
    looking = _Shadow(spec, spec.step) if isinstance(spec.step, ShadowStep) else _Canary(spec.step, before)
    for part in parts:
        looking.add(part)
    return [
        msgspec.structs.replace(step_verdict, step=spec.index, at_us=spec.end_at) for step_verdict in looking.verdicts()
    ]


class _Shadow:
    """Compares champion and candidate on the same requests; keeps what was answered where a label is known."""

    def __init__(self, spec: JudgeLook, step: ShadowStep) -> None:
        self._spec, self._step = spec, step
        self._failures = Exposures()
        self._values: list[tuple[Floats, Floats, Floats]] = []

    def add(self, part: LookPart) -> None:
        """Take further requests."""
        rows = part.rows
        champion = rows.filter((pl.col("variant") == CHAMPION) & ~pl.col("is_shadow"))
        candidate = rows.filter((pl.col("variant") == CANDIDATE) & pl.col("is_shadow"))
        # Both answered the same requests, so what makes some of them hard cancels out: a week of labels is then enough.
        pairs = champion.join(candidate, on="prediction_id", suffix="_candidate", maintain_order="left")
        labelled = pairs.join(part.labels, on="prediction_id", maintain_order="left")
        self._values.append(_values(self._spec, labelled))
        sides = {CHAMPION: "error", CANDIDATE: "error_candidate"}
        # Nothing is drawn, so that all rows are as if of one bucket: both always answer.
        failures = pl.concat(
            pairs.select("recorded_at", bucket=pl.lit(0.0), variant=pl.lit(variant), is_harmed=failed_itself(column))
            for variant, column in sides.items()
        )
        self._failures.add(failures, part.closed_before)

    def verdicts(self) -> list[StepVerdict]:
        """Judge quality, and errors: quality has its own least number, so few exposures without harm may pass."""
        labels, champion, candidate = (np.concatenate(values) for values in zip(*self._values, strict=True))
        verdicts = [judge_quality(self._spec, self._step, labels, champion, candidate)]
        if self._failures.rows:
            what = "errors on the same requests"
            verdicts.append(judge_harm("error_rate", self._failures, 0.5, what, needs_proof=False))
        return verdicts


def judge_quality(
    spec: JudgeLook, step: ShadowStep, labels: Floats, champion: Floats, candidate: Floats
) -> StepVerdict:
    """Judge non-inferiority on labelled pairs: the 95 % interval of the paired difference against the margin.

    Go if the candidate is certainly less than the margin worse, abort if it is certainly more, else undecided.
    """
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


def _values(spec: JudgeLook, pairs: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Return labels and both scores as float64 (n,); for classes, 1.0 where the answer is right and labels all 1.0."""
    if spec.task == "multiclass":
        kept = pairs.drop_nulls(["label_text", "answer", "answer_candidate"])
        observed = np.array([class_name(label) for label in kept["label_text"]])
        right = [
            np.array([class_name(answered_class(answer)) for answer in kept[column]]) == observed
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


class _Canary:
    """Compares what candidate and champion answered, each its share of the traffic."""

    def __init__(self, step: CanaryStep, before: pl.LazyFrame) -> None:
        self._step, self._answered = step, Exposures()
        self._guards: list[Guard] = [load_plugin("guards", guard)(step.weight, before) for guard in step.guard]

    def add(self, part: LookPart) -> None:
        """Take further rows."""
        # Without a bucket the caller chose the variant, which is no fair comparison.
        is_drawn = ~pl.col("is_shadow") & pl.col("bucket").is_not_null()
        served = part.rows.filter(is_drawn & pl.col("variant").is_in([CHAMPION, CANDIDATE]))
        answered = served.filter(pl.col("variant") == CANDIDATE).with_columns(is_harmed=pl.lit(False))
        self._answered.add(answered, part.closed_before)
        labels = part.labels.select("prediction_id", "label", "label_text")
        labelled = served.join(labels, on="prediction_id", how="left", maintain_order="left")
        for guard in self._guards:
            guard.add(labelled, part.closed_before)

    def verdicts(self) -> list[StepVerdict]:
        """Judge whether it was exposed enough, and what each guard says."""
        step, rows = self._step, self._answered.rows
        count = int(self._answered.tally().candidate.sum())
        message = (
            f"the candidate was exposed {count:,} times ({rows:,} rows; those answered together count once), "
            f"at least {step.least_rows:,} are needed"
        )
        exposure = verdict_alone("exposure", "go" if count >= step.least_rows else "undecided", message, rows)
        return [exposure, *(guard.verdict() for guard in self._guards)]
