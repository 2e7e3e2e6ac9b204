"""Statistics of rollouts: how often they are wrong, by simulation, and agreement with slow definitions."""

from typing import Any

import numpy as np
import pytest

from loopwright.serving.statistics import ABORT_AT, Harm, harm_e_value, harm_share, paired
from tests.serving import simulated
from tests.serving.simulated import MIXED

LOOK_EVERY = 50
WEIGHTS = (0.05, 0.5, 0.9)


def evidence(candidate: float, champion: float, share: float, both: float = 0.0) -> float:
    """Return the e-value of exposures of one size."""
    return harm_e_value(Harm(*(np.array([float(sum_)]) for sum_ in (candidate, champion, both))), np.array([share]))


def abort_at(rng: np.random.Generator, base: float, ratio: float, weight: float, candidates: int) -> int | None:
    """Return after how many requests of the candidate a simulated canary aborts, looking every 50 requests."""
    count = int(candidates / weight)
    is_candidate = rng.random(count) < weight
    failed = rng.random(count) < np.where(is_candidate, base * ratio, base)
    bad, all_bad, seen = np.cumsum(is_candidate & failed), np.cumsum(failed), np.cumsum(is_candidate)
    for last in range(LOOK_EVERY - 1, count, LOOK_EVERY):
        if evidence(bad[last], all_bad[last] - bad[last], max(weight, seen[last] / (last + 1))) >= ABORT_AT:
            return int(seen[last])
    return None


@pytest.mark.slow
@pytest.mark.parametrize("base", [0.002, 0.02, 0.2])
def test_a_healthy_canary_is_rarely_aborted_however_often_one_looks(base: float) -> None:
    rng = np.random.default_rng(11)
    runs = 1000 if base == 0.02 else 300
    aborted = sum(abort_at(rng, base, 1.0, 0.1, 500) is not None for _ in range(runs))
    assert aborted / runs <= 0.05


HEALTHY: dict[str, tuple[Any, ...]] = {
    "single rows": ([1], simulated.rows_fail(0.2, 0.2)),
    "rows by themselves": ([100], simulated.rows_fail(0.01, 0.01)),
    "parts together": ([100], simulated.parts_fail(0.05, 0.05)),
    "one spoils a part": (MIXED, simulated.one_spoils_a_part(0.01, 0.01)),
    "requests together": ([100], simulated.requests_fail(0.2)),
    "requests of one caller": ([100], simulated.requests_fail(0.2), True),
    "mixed": (MIXED, simulated.parts_fail(0.05, 0.05)),
    "large ones": (MIXED, simulated.large_ones_fail),
}


def is_aborted(rng: np.random.Generator, weight: float, sizes: Any, fails: simulated.Fails, sticky: bool) -> bool:
    """Say whether a canary of 50 requests an hour is aborted at one of 40 hourly looks."""
    requests = simulated.split(rng, rng.choice(sizes, 40 * 50), weight, fails, sticky=sticky)
    y, x = requests.harmed / np.maximum(requests.rows, 1)
    measures = (y > 0).astype(float), (x > 0).astype(float), y, x
    of_size = requests.draws == np.unique(requests.draws)[:, None]
    share = harm_share(weight, np.unique(requests.draws).astype(float))
    sums = []
    for champion, candidate in (measures[:2], measures[2:]):
        both = np.minimum(champion, candidate)
        parts = np.stack([candidate - both, champion - both, both])[:, None] * of_size
        sums.append(np.cumsum(parts.reshape(3, len(share), 40, 50).sum(axis=3), axis=2))
    return any(sum(harm_e_value(Harm(*harm[:, :, hour]), share) for harm in sums) / 2 >= ABORT_AT for hour in range(40))


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.05, 0.5])
@pytest.mark.parametrize("case", HEALTHY)
def test_a_healthy_canary_of_large_requests_looked_at_hourly_is_rarely_aborted(case: str, weight: float) -> None:
    rng = np.random.default_rng(20)
    sizes, fails, *sticky = HEALTHY[case]
    aborted = sum(is_aborted(rng, weight, sizes, fails, bool(sticky)) for _ in range(100))
    assert aborted / 100 <= 1 / ABORT_AT


def test_three_times_the_errors_are_caught_within_500_canary_requests() -> None:
    rng = np.random.default_rng(12)
    caught = [abort_at(rng, 0.02, 3.0, 0.1, 500) for _ in range(400)]
    assert sum(found is not None for found in caught) / len(caught) >= 0.95


def test_a_broken_canary_is_caught_at_once() -> None:
    rng = np.random.default_rng(13)
    caught = [abort_at(rng, 0.01, 50.0, 0.05, 200) for _ in range(200)]
    assert max(found or 10**6 for found in caught) <= 40


def test_of_harm_at_one_variant_an_exposure_the_e_value_is_the_conditional_binomial_test() -> None:
    ratios = np.exp(np.linspace(np.log(1.5), np.log(20.0), 10))
    prior = 1 / ratios / np.sum(1 / ratios)
    for bad, champion, share in ((3, 0, 0.05), (5, 7, 0.3), (0, 4, 0.5)):
        likelihoods = (ratios * share / (1 + share * (ratios - 1))) ** bad
        likelihoods *= ((1 - share) / (1 + share * (ratios - 1))) ** champion
        slow = float(prior @ likelihoods) / (share**bad * (1 - share) ** champion)
        assert evidence(bad, champion, share) == pytest.approx(slow)


def test_the_e_value_is_a_martingale_of_harmful_events() -> None:
    share = 0.2
    for total in range(8):
        for bad in range(total + 1):
            ahead = share * evidence(bad + 1, total - bad, share) + (1 - share) * evidence(bad, total - bad + 1, share)
            assert ahead == pytest.approx(evidence(bad, total - bad, share))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("draws", [2, 3, 8])
def test_the_e_value_grows_in_no_request_of_which_some_rows_are_bad_whoever_answers(weight: float, draws: int) -> None:
    share = float(harm_share(weight, np.array([float(draws)]))[0])
    for bad in range(1, draws + 1):
        ahead: dict[str, float] = dict.fromkeys(("often", "much", "parts that fail whole"), 0.0)
        for split in range(1 << draws):
            is_candidate = np.array([split >> place & 1 for place in range(draws)], dtype=bool)
            chance = float(np.prod(np.where(is_candidate, weight, 1 - weight)))
            is_bad = np.arange(draws) < bad
            shares = [is_bad[side].mean() if side.any() else 0.0 for side in (is_candidate, ~is_candidate)]
            hit = [float(each > 0) for each in shares]
            for name, (x, y) in {"often": hit, "much": shares}.items():
                ahead[name] += chance * evidence(2 + max(x - y, 0), 1 + max(y - x, 0), share, min(x, y))
            for side, chosen in enumerate((is_candidate, ~is_candidate)):
                harm = [2.0, 1.0]
                harm[side] += float(chosen.any())
                ahead["parts that fail whole"] += 0.5 * chance * evidence(*harm, share)
        assert max(ahead.values()) <= evidence(2, 1, share) * (1 + 1e-9), (bad, ahead)


def test_the_e_value_is_no_more_than_the_wealth_of_a_bet_on_each_exposure() -> None:
    rng = np.random.default_rng(18)
    for share in WEIGHTS:
        x, y = rng.random((2, 30)) * rng.integers(0, 2, (2, 30))
        both = np.minimum(x, y).sum()
        ratios = np.exp(np.linspace(np.log(1.5), np.log(20.0), 10))
        prior = 1 / ratios / np.sum(1 / ratios)
        stake = ((ratios - 1) / (1 + share * (ratios - 1)))[:, None]
        wealth = float(prior @ np.prod(1 + stake * ((1 - share) * x - share * y), axis=1))
        assert evidence(x.sum() - both, y.sum() - both, share, both) <= wealth


def test_exposures_of_several_sizes_are_one_bet() -> None:
    sizes = Harm(np.array([2.0, 1.0]), np.array([0.0, 3.0]), np.array([0.0, 1.5]))
    alike, apart = np.array([0.3, 0.3]), np.array([0.3, 0.5])
    assert harm_e_value(sizes, alike) == pytest.approx(evidence(3, 3, 0.3, 1.5))
    assert harm_e_value(sizes, apart) < harm_e_value(sizes, alike)


def test_the_e_value_stays_finite() -> None:
    assert evidence(100_000, 0, 0.01) > ABORT_AT
    assert evidence(0, 100_000, 0.01) < 1e-9
    assert evidence(5, 0, 1.0) == pytest.approx(1.0)
    assert harm_e_value(Harm(*np.zeros((3, 0))), np.zeros(0)) == pytest.approx(1.0)


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
