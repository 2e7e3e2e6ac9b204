"""Play the claims: train on what is known, serve some weeks, wait until all outcomes are known, compare.

``loopwright up`` runs, ``loopwright apply late.py --yes`` was done; this takes a minute or two and prints what the
trainings promised and what came true.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from process import as_seen, at, claims, settled_between

import loopwright as lw

LEARN_DAYS, SERVE_DAYS, WAIT_DAYS = 1291, 42, 430  # the first is that of ``clock_at``


class Judged(NamedTuple):
    """An area under the curve and its interval of 95 %."""

    auc: float
    low: float
    high: float
    rows: int

    def __str__(self) -> str:
        return f"{self.auc:.3f} ({self.low:.3f} to {self.high:.3f}, {self.rows} rows)"


class Played(NamedTuple):
    """What the two trainings said of themselves, and what was true of the one that served."""

    held_out: Judged
    hasty_held_out: Judged
    served: Judged
    embargo_days: float
    lag: dict[str, int]


def auc(label: np.ndarray, score: np.ndarray) -> Judged:
    """Return the area under the curve with its interval by DeLong, DeLong and Clarke-Pearson (1988)."""
    positive, negative = score[label], score[~label]
    ranks = pl.Series(np.concatenate([positive, negative])).rank("average").to_numpy()
    own = [pl.Series(part).rank("average").to_numpy() for part in (positive, negative)]
    above = (ranks[: len(positive)] - own[0]) / len(negative)
    below = 1 - (ranks[len(positive) :] - own[1]) / len(positive)
    area = float(above.mean())
    error = float(np.sqrt(above.var(ddof=1) / len(positive) + below.var(ddof=1) / len(negative)))
    return Judged(area, area - 1.96 * error, area + 1.96 * error, len(label))


def play(
    remote: Any,
    rows: pl.DataFrame,
    serve_days: int = SERVE_DAYS,
    wait_days: int = WAIT_DAYS,
    step_days: int = 30,
) -> Played:
    """Play the claims against a running project; return what was promised and what came true.

    Args:
        remote: The project.
        rows: All claims.
        serve_days: How long to serve.
        wait_days: How long to wait for outcomes afterwards.
        step_days: How often they come meanwhile.
    """
    dataset, deployment = remote.dataset("claims"), remote.deployment("fraud")
    dataset.append(as_seen(rows, LEARN_DAYS), reason="all claims so far").wait()
    for training in ("hasty", "fit"):
        remote.start(training, reason="the first model").wait()
    remote.call("clock.advance", to=_us(LEARN_DAYS))
    answered: list[dict[str, Any]] = []
    for day in range(LEARN_DAYS, LEARN_DAYS + serve_days):
        remote.call("clock.advance", to=_us(day + 1))
        opened = rows.filter((pl.col("opened_at") >= at(day)) & (pl.col("opened_at") < at(day + 1)))
        asked = opened.drop("is_fraud", "settled_at").with_columns(event_at=pl.col("opened_at").dt.epoch("us"))
        answers = deployment.predict(asked)
        answered += [
            {"claim_id": key, "prediction_id": answer["prediction_id"], "score": answer["score"]}
            for key, answer in zip(opened["claim_id"], answers, strict=True)
        ]
        dataset.append(as_seen(opened, day + 1), reason="claims of the day").wait()
        _settle(dataset, rows.filter(pl.col("opened_at") < at(day + 1)), day, day + 1)
    served_rows = rows.filter(pl.col("opened_at") < at(LEARN_DAYS + serve_days))
    for day in range(LEARN_DAYS + serve_days, LEARN_DAYS + serve_days + wait_days, step_days):
        remote.call("clock.advance", to=_us(day + step_days))
        _settle(dataset, served_rows, day, day + step_days)
    outcome = dataset.read(columns=["claim_id", "is_fraud"])
    served = pl.DataFrame(answered).join(outcome, on="claim_id").drop_nulls("is_fraud")
    trained = remote.call("features.training_sets", service="fraud")
    ripe = next(one for one in trained if one.spec.embargo_us)
    return Played(
        _held_out(remote, "fraud"),
        _held_out(remote, "hasty"),
        auc(served["is_fraud"].to_numpy(), served["score"].to_numpy()),
        ripe.spec.embargo_us / 86_400_000_000,
        ripe.spec.lag.quantiles,
    )


def _settle(dataset: Any, rows: pl.DataFrame, first: float, last: float) -> None:
    """Complete the claims whose outcome became known in some days: the columns that were missing, nothing else."""
    known = settled_between(rows, first, last).select("claim_id", "is_fraud", "settled_at")
    if known.height:
        dataset.complete(known, reason="outcomes").wait()


def _held_out(remote: Any, model: str) -> Judged:
    """Return how a version did on the rows that were kept from it, as its gates saw it."""
    fitted = next(version for version in remote.call("registry.versions", model=model) if version.refit_of is None)
    evidence = remote.call("registry.gate_report", model=model, version=fitted.version).evidence
    return Judged(evidence.metrics["roc_auc"], *evidence.intervals["roc_auc"], evidence.rows)


def _us(day: float) -> int:
    return int(at(day).timestamp() * 1e6)


if __name__ == "__main__":
    played = play(lw.connect(project="claims"), claims(LEARN_DAYS + SERVE_DAYS))
    days = {share: round(lag / 86_400_000_000) for share, lag in played.lag.items()}
    print(f"labels come after {days} days (share: days); rows younger than {played.embargo_days:.0f} d were left out")
    print(f"promised by the training that waits      {played.held_out}")
    print(f"promised by the one that does not        {played.hasty_held_out}")
    print(f"true of what was served, all labels in   {played.served}")
