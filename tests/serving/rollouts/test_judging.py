"""Judging a look from frames: non-inferiority on pairs, exposure, tasks other than binary."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.serving import CanaryStep, JudgeLook, ShadowStep, StepVerdict
from loopwright.serving.rollouts.judging import LookPart
from loopwright.serving.rollouts.judging import judge as judge_parts
from loopwright.store.streams import OTHER_ROW_FAILED

DAY = 86_400_000_000
TIMES = ["event_at", "recorded_at", "latency_us"]
NOTHING = pl.DataFrame(schema={"variant": pl.String(), "latency_us": pl.Int64(), "recorded_at": pl.Int64()})
UNLABELLED = pl.DataFrame(schema={"prediction_id": pl.String(), "label": pl.Float64(), "label_text": pl.String()})


def judge(look: JudgeLook, seen: pl.DataFrame, labels: pl.DataFrame, before: pl.DataFrame) -> list[StepVerdict]:
    return judge_parts(look, [LookPart(seen, labels)], before.lazy())


def spec(step: Any, task: str = "binary") -> JudgeLook:
    return JudgeLook("roll_1", "late", 2, task, step, 0, 1, 1, 0, 7 * DAY)


def rows(variant: str, values: dict[str, Any], *, is_shadow: bool) -> pl.DataFrame:
    count = len(next(iter(values.values())))
    fixed = {"prediction_id": [f"p{n}" for n in range(count)], "variant": variant, "is_shadow": is_shadow}
    times = {"event_at": np.arange(count), "recorded_at": np.arange(count), "latency_us": 1000, "bucket": 0.5}
    empty = {name: None for name in ("score", "answer", "error") if name not in values}
    return (
        pl.DataFrame({**fixed, **times, **values, **empty})
        .with_columns(
            pl.col("score").cast(pl.Float64), pl.col("answer").cast(pl.String), pl.col("error").cast(pl.String)
        )
        .select("prediction_id", "variant", "is_shadow", *TIMES, "score", "answer", "error", "bucket")
    )


def shadow(
    noise: float, *, count: int = 3000, task: str = "binary", metric: str = "roc_auc", margin: float = 0.02
) -> Any:
    rng = np.random.default_rng(5)
    truth = (rng.random(count) < 0.3).astype(float)
    champion = truth + rng.normal(0, 1, count)
    candidate = champion + rng.normal(0, noise, count)
    both = pl.concat(
        [
            rows("champion", {"score": champion}, is_shadow=False),
            rows("candidate", {"score": candidate}, is_shadow=True),
        ]
    )
    labels = pl.DataFrame({"prediction_id": [f"p{n}" for n in range(count)], "label": truth, "label_text": None})
    return judge(spec(ShadowStep(7 * DAY, metric, margin), task), both, labels, NOTHING)


def test_a_like_candidate_goes_on_and_the_sentence_has_the_interval() -> None:
    quality, errors = shadow(0.05)
    assert (quality.verdict, errors.verdict) == ("go", "go")
    assert quality.low is not None
    assert quality.low > -0.02
    assert "95 % interval" in quality.message
    assert quality.at_us == 7 * DAY


def test_a_worse_candidate_aborts() -> None:
    quality = shadow(3.0)[0]
    assert quality.verdict == "abort"
    assert quality.difference is not None
    assert f": {-quality.difference:.4f} worse (95 % interval" in quality.message


def test_too_few_rows_for_the_margin_are_undecided() -> None:
    assert shadow(0.8, count=300, margin=0.001)[0].verdict in ("undecided", "abort")
    assert shadow(0.3, count=300, margin=0.005)[0].verdict == "undecided"


def test_too_few_labels_are_undecided() -> None:
    found = shadow(0.05, count=150)[0]
    assert found.verdict == "undecided"
    assert "only 150 of at least 200" in found.message


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_regression_is_judged_on_paired_errors(metric: str) -> None:
    assert shadow(0.05, task="regression", metric=metric)[0].verdict == "go"
    assert shadow(3.0, task="regression", metric=metric)[0].verdict == "abort"


def test_classes_are_judged_on_right_answers() -> None:
    rng = np.random.default_rng(6)
    truth = rng.choice(["a", "b", "c"], 1000)
    good = [json.dumps({"class": name}) for name in np.where(rng.random(1000) < 0.8, truth, "a")]
    poor = [json.dumps({"class": name}) for name in np.where(rng.random(1000) < 0.4, truth, "a")]
    labels = pl.DataFrame({"prediction_id": [f"p{n}" for n in range(1000)], "label": None, "label_text": truth})
    for candidate, verdict in ((good, "go"), (poor, "abort")):
        both = pl.concat(
            [
                rows("champion", {"answer": good}, is_shadow=False),
                rows("candidate", {"answer": candidate}, is_shadow=True),
            ]
        )
        step = ShadowStep(7 * DAY, "accuracy", 0.02)
        assert judge(spec(step, "multiclass"), both, labels, NOTHING)[0].verdict == verdict


def test_a_shadow_that_fails_is_caught_although_its_pairs_look_well() -> None:
    count = 500
    failed = pl.Series(["broken" if n % 10 == 0 else None for n in range(count)])
    scores = np.linspace(0, 1, count)
    both = pl.concat(
        [
            rows("champion", {"score": scores}, is_shadow=False),
            rows("candidate", {"score": scores, "error": failed}, is_shadow=True),
        ]
    )
    truth = (np.arange(count) % 3 == 0).astype(float)
    labels = pl.DataFrame({"prediction_id": [f"p{n}" for n in range(count)], "label": truth, "label_text": None})
    quality, errors = judge(spec(ShadowStep(7 * DAY, "roc_auc", 0.01)), both, labels, NOTHING)
    assert (quality.verdict, errors.verdict) == ("go", "abort")


def test_a_request_that_the_champion_failed_for_another_row_excuses_no_shadow() -> None:
    count, scores = 500, np.zeros(500)
    sides = [
        rows(
            variant, {"score": scores, "error": pl.Series([why if n % 10 == 0 else None for n in range(count)])}, **kind
        )
        for variant, why, kind in (
            ("champion", OTHER_ROW_FAILED, {"is_shadow": False}),
            ("candidate", "broken", {"is_shadow": True}),
        )
    ]
    errors = judge(spec(ShadowStep(7 * DAY, "roc_auc", 0.01)), pl.concat(sides), UNLABELLED, NOTHING)[1]
    assert (errors.verdict, errors.champion) == ("abort", 0.0)


def canary(exposures: int, rows_each: int, failed: int = 0) -> pl.DataFrame:
    """Batches of rows that both variants answered together; the candidate fails in the first of them."""
    count = exposures * rows_each
    together = np.arange(count) // rows_each
    errors = pl.Series(["broken" if place < failed else None for place in together], dtype=pl.String())
    sides = [rows("champion", {"score": np.zeros(count)}, is_shadow=False)]
    sides.append(rows("candidate", {"score": np.zeros(count), "error": errors}, is_shadow=False))
    return pl.concat(side.with_columns(event_at=pl.Series(together), recorded_at=pl.Series(together)) for side in sides)


def verdicts(step: CanaryStep, served: pl.DataFrame) -> list[str]:
    return [found.verdict for found in judge(spec(step), served, UNLABELLED, NOTHING)]


def test_a_canary_needs_its_exposures() -> None:
    step = CanaryStep(0.1, DAY, ["error_rate"])
    assert verdicts(step, canary(40, 1)) == ["undecided", "go"]
    assert verdicts(step, canary(140, 1)) == ["go", "go"]
    assert verdicts(step, canary(40, 60)) == ["undecided", "go"]


def test_a_candidate_that_fails_most_requests_does_not_pass() -> None:
    step = CanaryStep(0.05, DAY, ["error_rate"], least_rows=20)
    candidate = canary(8, 3, failed=5).filter(pl.col("variant") == "candidate")
    champion = canary(12, 3).filter(pl.col("variant") == "champion")
    assert verdicts(step, pl.concat([champion, candidate])) == ["undecided", "undecided"]
    assert verdicts(step, canary(20, 3, failed=12)) == ["go", "abort"]


def test_a_replayed_hour_is_one_exposure_and_a_healthy_canary_ends_within_a_day() -> None:
    step = CanaryStep(0.05, DAY, ["error_rate"], least_rows=8)
    assert verdicts(step, canary(8, 50)) == ["go", "go"]


def test_rows_whose_variant_the_caller_chose_do_not_count() -> None:
    chosen = rows("candidate", {"score": np.zeros(140), "error": pl.Series(["x"] * 140)}, is_shadow=False)
    step = CanaryStep(0.1, DAY, ["error_rate"])
    found = judge(spec(step), chosen.with_columns(bucket=pl.lit(None, pl.Float64)), UNLABELLED, NOTHING)
    assert [verdict.verdict for verdict in found] == ["undecided", "undecided"]


def test_a_canary_s_guard_on_quality_sees_the_labels() -> None:
    count = 400
    truth = (np.arange(count) % 3 == 0).astype(float)
    sides = {"champion": truth * 0.5 + np.linspace(0, 0.4, count), "candidate": np.full(count, 0.2)}
    parts = [rows(name, {"score": scores}, is_shadow=False) for name, scores in sides.items()]
    served = pl.concat(
        part.with_columns(prediction_id=pl.col("prediction_id") + f"-{place}") for place, part in enumerate(parts)
    )
    labels = served.select("prediction_id", label=pl.Series([*truth, *truth]), label_text=pl.lit(None, pl.String()))
    step = CanaryStep(0.5, DAY, ["error_rate", "roc_auc"])
    found = {one.metric: one.verdict for one in judge(spec(step), served, labels, NOTHING)}
    assert found["roc_auc"] == "abort"
    found = {one.metric: one.verdict for one in judge(spec(step), served, UNLABELLED, NOTHING)}
    assert found["roc_auc"] == "undecided"
