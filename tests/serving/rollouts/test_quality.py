"""Guards on the quality of a canary: valid however often one looks."""

import numpy as np
import polars as pl
import pytest

from loopwright.serving.rollouts.quality import LEAST_LABELS, RocAuc, SquaredError
from tests.serving.rollouts.folding import judge_by

roc_auc, squared_error = judge_by(RocAuc), judge_by(SquaredError)

NOTHING = pl.DataFrame()


def traffic(rows: int, weight: float, *, worse: float = 0.0, seed: int = 1) -> pl.DataFrame:
    """Labelled answers of both variants; ``worse`` 1.0 makes the candidate's scores pure noise."""
    chance = np.random.default_rng(seed)
    is_candidate = chance.random(rows) < weight
    truth = chance.uniform(0, 1, rows)
    noise = np.where(is_candidate, worse, 0.0)
    return pl.DataFrame(
        {
            "variant": np.where(is_candidate, "candidate", "champion"),
            "score": (1 - noise) * truth + noise * chance.uniform(0, 1, rows),
            "label": (chance.random(rows) < truth).astype(float),
        }
    )


@pytest.mark.parametrize("guard", [roc_auc, squared_error])
def test_a_worse_candidate_aborts_and_a_like_one_passes(guard: object) -> None:
    assert callable(guard)
    found = guard(traffic(2000, 0.25, worse=1.0), NOTHING, 0.25)
    assert found.verdict == "abort"
    assert f"{-found.difference:.4f} worse (interval" in found.message
    assert found.high < 0
    assert guard(traffic(20_000, 0.25), NOTHING, 0.25).verdict == "go"
    assert guard(traffic(20_000, 0.25).with_columns(score=0.5), NOTHING, 0.25).verdict == "go"


def test_a_constant_candidate_is_noticed_early() -> None:
    rows = traffic(300, 0.25).with_columns(score=pl.when(pl.col("variant") == "candidate").then(0.2).otherwise("score"))
    found = roc_auc(rows, NOTHING, 0.25)
    assert (found.verdict, found.candidate) == ("abort", 0.5)


def test_what_is_not_shown_either_way_is_undecided() -> None:
    assert roc_auc(traffic(400, 0.25), NOTHING, 0.25).verdict == "undecided"
    worse = traffic(4000, 0.25, worse=0.5)
    verdicts = [roc_auc(worse.head(count), NOTHING, 0.25).verdict for count in (250, 2000, 4000)]
    assert verdicts == ["undecided", "abort", "abort"]


@pytest.mark.parametrize("guard", [roc_auc, squared_error])
def test_without_labels_nothing_is_judged(guard: object) -> None:
    assert callable(guard)
    rows = traffic(2000, 0.25, worse=1.0)
    waiting = rows.with_columns(label=pl.when(pl.int_range(pl.len()) < LEAST_LABELS).then("label"))
    assert guard(waiting, NOTHING, 0.25).verdict == "undecided"
    assert guard(rows.clear(), NOTHING, 0.25).verdict == "undecided"


def test_labels_of_one_class_are_no_judgement() -> None:
    assert roc_auc(traffic(2000, 0.25).with_columns(label=0.0), NOTHING, 0.25).verdict == "undecided"


@pytest.mark.slow
@pytest.mark.parametrize("guard", [roc_auc, squared_error])
def test_looking_often_raises_few_false_alarms(guard: object) -> None:
    assert callable(guard)
    alarms = 0
    for seed in range(100):
        rows = traffic(3000, 0.25, seed=seed)
        alarms += any(guard(rows.head(until), NOTHING, 0.25).verdict == "abort" for until in range(200, 3001, 200))
    assert alarms <= 5
