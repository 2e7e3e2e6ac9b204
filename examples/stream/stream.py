"""Predict whether a flight is late, where landings come one by one from a topic.

Declares, does nothing; ``loopwright apply stream.py`` makes it so. The gateway has to know the broker, as in
``LOOPWRIGHT_SOURCES="landings/events=redis://127.0.0.1:6379" loopwright up``.
"""

import lightgbm

import loopwright as lw

p = lw.Project("landings")

flights = p.dataset(
    "flights",
    lw.source.topic("events", "landings", arrived="arrived_at"),
    key="flight_id",
    time="scheduled_at",
    # A landing is known when the broker took it, however late that was; carrier and plane are known from the schedule.
    known_at={"delay": "arrived_at", "is_late": "arrived_at"},
    checks=[lw.check.not_null("carrier"), lw.check.between("delay", -120, 2000)],
)
carriers = p.aggregates(
    flights,
    entity="carrier",
    over=["1h", "24h"],
    counts="known",
    delay=lw.agg.mean("delay"),
    landed=lw.agg.count("delay"),
)
planes = p.features(flights, entity="tail", columns=["delay"], ttl="1d")
inputs = p.feature_service("late", [carriers, planes], label=flights["is_late"], task="binary")


@p.train(model="late", inputs=inputs, holdout="6h")
def fit(rows: lw.TrainingSet) -> lightgbm.LGBMClassifier:
    X, y = rows.xy()
    return lightgbm.LGBMClassifier(n_estimators=20, num_leaves=7, n_jobs=1, verbose=-1).fit(X, y)


p.deployment("late", model="late", approve=lw.Approve(first="policy", retrain="policy"))
