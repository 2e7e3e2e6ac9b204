"""Statistics of rollouts: evidence of harm, valid at every look, and paired differences of quality. Pure numpy."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.registry import metrics

Floats = NDArray[np.float64]

ABORT_AT = 20.0
"""An e-value of 20 is evidence at level 1/20 = 0.05, at whatever moment one looks (Ville's inequality)."""

_RATIOS = np.exp(np.linspace(np.log(1.5), np.log(20.0), 10))
_PRIOR = 1.0 / _RATIOS / np.sum(1.0 / _RATIOS)


class Harm(NamedTuple):
    """Harm of exposures, summed, float64 (sizes,): at the candidate beyond the champion's, the reverse, and at both."""

    candidate: Floats
    champion: Floats
    both: Floats


def harm_share(weight: float, draws: Floats) -> Floats:
    """Return how often the candidate has rows in an exposure, of how often either variant has, (n,) like ``draws``.

    It is never less than ``weight``: where it would be, an exposure that fails for one bad row is harmed that often.

    Args:
        weight: The candidate's share of traffic, 0..1.
        draws: In how many draws the rows of an exposure were given to the variants, (n,).

    >>> harm_share(0.05, np.array([1.0, 100.0])).round(3).tolist()
    [0.05, 0.499]
    """
    candidate, champion = 1.0 - (1.0 - weight) ** draws, 1.0 - weight**draws
    return np.maximum(weight, candidate / (candidate + champion))


def harm_e_value(harm: Harm, share: Floats) -> float:
    """Return the evidence that the candidate's rows of an exposure are harmed more than the champion's.

    Be ``x`` and ``y`` in 0..1 the harm of one exposure at candidate and champion, 0 where it has no rows there. Of a
    harmless candidate ``(1 - share) x - share y`` is 0 at most on average, given all that came before, whatever the
    base rate is, however it drifts and however rows of one exposure hang together. So the wealth of whoever bets on it
    is a supermartingale: ``1 + a x - b y`` an exposure, with ``1 + a = r / (1 + share (r - 1))`` and
    ``1 - b = 1 / (1 + share (r - 1))`` (Waudby-Smith and Ramdas, Estimating means of bounded random variables by
    betting, 2024). By the inequality of means that is no less than ``(1 + a)^(x - m) (1 - b)^(y - m) (1 + a - b)^m``
    with ``m = min(x, y)``, which needs the sums alone. Where harm is 0 or 1 and exposures lie at one variant, both are
    the conditional binomial test of "the candidate's rate is r times the champion's". Mixed over r from 1.5 to 20
    (mixture after Robbins 1970, e-values after Grunwald, de Heide and Koolen 2024).

    Args:
        harm: Of exposures, summed over those of one size, (sizes,).
        share: How often the candidate has rows in an exposure, of how often either has, 0..1, (sizes,).

    >>> none, share = np.zeros(1), np.array([0.1])
    >>> harm_e_value(Harm(none, none + 10, none), share) < 1.0
    True
    >>> harm_e_value(Harm(none + 8, none + 2, none), share) > ABORT_AT
    True
    """
    gain = _RATIOS[:, None] - 1.0
    logs = np.log(_PRIOR) + np.sum(
        harm.candidate * np.log(_RATIOS)[:, None]
        + harm.both * np.log1p((1.0 - share) * gain)
        - (harm.candidate + harm.champion + harm.both) * np.log1p(share * gain),
        axis=1,
    )
    top = float(np.max(logs))
    return float(np.exp(min(top + np.log(np.sum(np.exp(logs - top))), 700.0)))


class Paired(msgspec.Struct, frozen=True):
    """A metric of champion and candidate on the same rows; ``difference`` is positive where the candidate is better."""

    champion: float
    candidate: float
    difference: float
    low: float
    high: float


def in_words(difference: float) -> str:
    """Return a difference that is positive where the candidate is better as people say it.

    >>> in_words(-0.16), in_words(0.02)
    ('0.1600 worse', '0.0200 better')
    """
    return f"{abs(difference):.4f} {'worse' if difference < 0 else 'better'}"


def paired_auc(labels: Floats, champion: Floats, candidate: Floats) -> Paired | None:
    """Return the difference of two areas under the ROC curve with DeLong's 95 % interval.

    None with fewer than two rows of either class, where the difference has no variance yet.
    """
    positives = int((labels > 0.5).sum())
    if min(positives, len(labels) - positives) < 2:
        return None
    first, second = metrics.roc_auc(labels, champion), metrics.roc_auc(labels, candidate)
    difference = metrics.delong_difference(labels, champion, candidate)
    return Paired(first, second, difference.value, difference.low, difference.high)


def _paired(champion: float, candidate: float, difference: float, spread: float) -> Paired:
    return Paired(champion, candidate, difference, difference - metrics.Z95 * spread, difference + metrics.Z95 * spread)


def _squared(labels: Floats, scores: Floats) -> Floats:
    return (scores - labels) ** 2


def _absolute(labels: Floats, scores: Floats) -> Floats:
    return np.abs(scores - labels)


def _log_loss(labels: Floats, scores: Floats) -> Floats:
    kept = np.clip(scores, 1e-15, 1.0 - 1e-15)
    return -(labels * np.log(kept) + (1.0 - labels) * np.log1p(-kept))


def _wrong(labels: Floats, scores: Floats) -> Floats:
    return np.asarray((scores > 0.5) != (labels > 0.5), dtype=np.float64)


_LOSSES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "mse": _squared,
    "rmse": _squared,
    "brier": _squared,
    "mae": _absolute,
    "log_loss": _log_loss,
    "accuracy": _wrong,
}


def paired_loss(metric: str, labels: Floats, champion: Floats, candidate: Floats) -> Paired | None:
    """Return the difference of two mean losses with its 95 % normal interval over the paired rows; None below two rows.

    For ``rmse`` by the delta method: the root of each mean is linearised, so the pairing is kept. ``accuracy`` is one
    minus the share that is wrong at the threshold 0.5.
    """
    if len(labels) < 2:
        return None
    losses = [_LOSSES[metric](labels, scores) for scores in (champion, candidate)]
    means = [float(loss.mean()) for loss in losses]
    if metric == "rmse":
        roots = [float(np.sqrt(mean)) for mean in means]
        losses = [loss / (2.0 * root) if root > 0 else loss for loss, root in zip(losses, roots, strict=True)]
        means = roots
    spread = float(np.sqrt(np.var(losses[0] - losses[1], ddof=1) / len(labels)))
    shown = [1.0 - mean for mean in means] if metric == "accuracy" else means
    return _paired(shown[0], shown[1], means[0] - means[1], spread)


def paired(metric: str, labels: Floats, champion: Floats, candidate: Floats) -> Paired | None:
    """Return the difference of a metric on the same rows; None where it has no value yet."""
    if metric == "roc_auc":
        return paired_auc(labels, champion, candidate)
    return paired_loss(metric, labels, champion, candidate)
