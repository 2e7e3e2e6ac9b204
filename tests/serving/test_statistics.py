"""Statistics of rollouts: how often they are wrong, by simulation, and agreement with slow definitions."""

import numpy as np
import pytest

from loopwright.serving.statistics import ABORT_AT, harm_e_value, paired

LOOK_EVERY = 50


def abort_at(rng: np.random.Generator, base: float, ratio: float, weight: float, candidates: int) -> int | None:
    """Return after how many requests of the candidate a simulated canary aborts, looking every 50 requests."""
    count = int(candidates / weight)
    is_candidate = rng.random(count) < weight
    failed = rng.random(count) < np.where(is_candidate, base * ratio, base)
    bad, all_bad, seen = np.cumsum(is_candidate & failed), np.cumsum(failed), np.cumsum(is_candidate)
    for last in range(LOOK_EVERY - 1, count, LOOK_EVERY):
        if harm_e_value(int(bad[last]), int(all_bad[last]), max(weight, seen[last] / (last + 1))) >= ABORT_AT:
            return int(seen[last])
    return None


@pytest.mark.slow
@pytest.mark.parametrize("base", [0.002, 0.02, 0.2])
def test_a_healthy_canary_is_rarely_aborted_however_often_one_looks(base: float) -> None:
    rng = np.random.default_rng(11)
    runs = 1000 if base == 0.02 else 300
    aborted = sum(abort_at(rng, base, 1.0, 0.1, 500) is not None for _ in range(runs))
    assert aborted / runs <= 0.05


def test_three_times_the_errors_are_caught_within_500_canary_requests() -> None:
    rng = np.random.default_rng(12)
    caught = [abort_at(rng, 0.02, 3.0, 0.1, 500) for _ in range(400)]
    assert sum(found is not None for found in caught) / len(caught) >= 0.95


def test_a_broken_canary_is_caught_at_once() -> None:
    rng = np.random.default_rng(13)
    caught = [abort_at(rng, 0.01, 50.0, 0.05, 200) for _ in range(200)]
    assert max(found or 10**6 for found in caught) <= 40


def test_the_e_value_is_a_martingale_of_harmful_events() -> None:
    share = 0.2
    for total in range(8):
        for bad in range(total + 1):
            ahead = share * harm_e_value(bad + 1, total + 1, share)
            ahead += (1 - share) * harm_e_value(bad, total + 1, share)
            assert ahead == pytest.approx(harm_e_value(bad, total, share))


def test_the_e_value_stays_finite() -> None:
    assert harm_e_value(100_000, 100_000, 0.01) > ABORT_AT
    assert harm_e_value(0, 100_000, 0.01) < 1e-9
    assert harm_e_value(5, 5, 1.0) == 1.0


def labelled(rng: np.random.Generator, rows: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = (rng.random(rows) < 0.3).astype(float)
    champion = labels + rng.normal(0, 1, rows)
    return labels, champion, champion + rng.normal(0, noise, rows)


@pytest.mark.parametrize("metric", ["roc_auc", "rmse", "mae", "brier"])
def test_paired_intervals_cover_the_truth(metric: str) -> None:
    rng = np.random.default_rng(14)
    far = paired(metric, *labelled(rng, 200_000, 0.5))
    assert far is not None
    hits = 0
    for _ in range(300):
        found = paired(metric, *labelled(rng, 400, 0.5))
        assert found is not None
        hits += found.low <= far.difference <= found.high
    assert 0.92 <= hits / 300 <= 0.98


def test_a_worse_candidate_has_a_negative_difference_whatever_the_metric() -> None:
    rng = np.random.default_rng(15)
    labels, champion, candidate = labelled(rng, 5000, 1.0)
    for metric in ("roc_auc", "rmse", "mse", "mae", "brier", "accuracy"):
        found = paired(metric, labels, champion, candidate)
        assert found is not None
        assert found.high < 0, metric
    log_loss = paired("log_loss", labels, 1 / (1 + np.exp(-champion)), 1 / (1 + np.exp(3 * candidate)))
    assert log_loss is not None
    assert log_loss.high < 0


def test_the_area_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(16)
    labels, champion, candidate = (np.round(values, 1) for values in labelled(rng, 60, 0.5))
    found = paired("roc_auc", labels, champion, candidate)
    assert found is not None
    for shown, scores in ((found.champion, champion), (found.candidate, candidate)):
        gaps = scores[labels == 1][:, None] - scores[labels == 0][None, :]
        assert shown == pytest.approx(float(((gaps > 0) + 0.5 * (gaps == 0)).mean()))


def test_equal_models_have_no_difference() -> None:
    labels, champion, _ = labelled(np.random.default_rng(17), 100, 0.0)
    found = paired("roc_auc", labels, champion, champion)
    assert found is not None
    assert (found.low, found.difference, found.high) == (0.0, 0.0, 0.0)


def test_one_class_has_no_area() -> None:
    ones = np.ones(10)
    assert paired("roc_auc", ones, ones, ones) is None
    assert paired("rmse", ones[:1], ones[:1], ones[:1]) is None
