"""Predict whether a claim is fraud, where it is known only after a year for some of them.

Declares, does nothing; ``loopwright apply late.py`` makes it so, ``python play.py`` plays it.
"""

import lightgbm
import polars as pl

import loopwright as lw

p = lw.Project("claims", owner="fraud", clock="replay", clock_at="2023-07-15T00:00:00Z")

claims = p.dataset(
    "claims",
    lw.source.frame(),
    key="claim_id",
    time="opened_at",
    known_at={"is_fraud": "settled_at"},
    checks=[lw.check.not_null("broker"), lw.check.between("amount", 0, 1_000_000)],
)


@p.on_request(inputs=["amount", "is_new", "channel"], outputs=["amount", "channel", "is_new"])
def asked(request: pl.DataFrame) -> pl.DataFrame:
    return request.select("amount", "channel", is_new=pl.col("is_new").cast(pl.Float64))


brokers = p.aggregates(
    claims,
    entity="broker",
    over=["365d"],
    counts="known",  # outcomes that became known in the year before, whenever the claims were opened
    fraud_share=lw.agg.mean("is_fraud"),
)
inputs = p.feature_service("fraud", [asked, brokers], label=claims["is_fraud"], task="binary")


@p.train(model="fraud", inputs=inputs, holdout="120d", mature="99%")
def fit(rows: lw.TrainingSet) -> lightgbm.LGBMClassifier:
    X, y = rows.xy()
    return lightgbm.LGBMClassifier(n_estimators=60, num_leaves=7, n_jobs=1, verbose=-1).fit(X, y)


# what everybody does: the newest rows that have a label
p.train(model="hasty", inputs=inputs, holdout="120d", refit=False, name="hasty")(fit)

gates = [lw.gate.at_least("roc_auc", 0.6)]
p.deployment("fraud", model="fraud", gates=gates, approve=lw.Approve(first="policy", retrain="policy"))
