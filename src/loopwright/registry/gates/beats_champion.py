"""Gate: a version is better than the one that answers now, on the same rows."""

import math

from loopwright.registry.gates.runs import Finding, measured, told
from loopwright.registry.types import Evidence, Verdict, gain


def beats_champion(evidence: Evidence, metric: str, margin: float = 0.0) -> Finding:
    """Pass if the held-out metric is better than the champion's by more than ``margin``, in the metric's own direction.

    A first version has no champion to beat and passes. If either model saw a row of the evaluation, it is invalid. A
    champion that may have seen them is flattered: to beat it still counts, not to beat it decides nothing.
    """
    if evidence.champion is None and not evidence.overlap_rows:
        return "passed", "there is no champion yet; a first version meets the absolute gates"
    if evidence.champion_overlap_rows:
        return (
            "invalid",
            f"{evidence.champion_overlap_rows:,} of {evidence.rows:,} rows were in the champion's training set; "
            "evaluate on rows neither has seen",
        )
    score = measured(evidence, metric)
    if isinstance(score, tuple):
        return score
    champion = (evidence.champion_metrics or {}).get(metric)
    if champion is None or math.isnan(champion):
        return "undecided", f"{metric} of the champion, version {evidence.champion}, was not measured"
    better = gain(metric, champion, score)
    is_flattered = evidence.champion_overlap_rows is None
    verdict: Verdict = "passed" if better > margin else "undecided" if is_flattered else "failed"
    asked = f"asked: better by more than {margin:.4g}"
    asked += "; nobody knows whether the champion was trained on these rows" if is_flattered else ""
    return verdict, (
        f"{told(evidence, metric, score)}; champion version {evidence.champion} {champion:.4g}: "
        f"{'worse' if better < 0 else 'better'} by {abs(better):.4g}; {asked}"
    )
