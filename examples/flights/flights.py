"""Predict, at its scheduled departure, whether a flight out of New York arrives more than 15 minutes late.

Declares, does nothing; ``loopwright apply flights.py`` shows the plan, then makes it so.
``python ingest.py`` makes ``data/`` first.
"""

import lightgbm
import polars as pl

import loopwright as lw

p = lw.Project("flights", owner="ops-ml", risk="low", clock="replay", clock_at="2013-03-01T05:00:00Z")


def with_label(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw.with_columns(is_late=pl.col("arr_delay") > 15)


flights = p.dataset(
    "flights",
    lw.source.parquet("data/flights/"),
    transform=with_label,
    key="flight_id",
    time="scheduled_at",
    known_at={"is_late": "landed_at"},  # said once, obeyed everywhere: nobody knows a delay before landing
    checks=[lw.check.not_null("origin"), lw.check.between("distance", 0, 6000)],
)
weather = p.dataset(
    "weather",
    lw.source.parquet("data/weather/"),
    key=("origin", "observed_at"),
    time="observed_at",
    known_at=lw.after("observed_at", "1h"),  # an hour's weather is complete at its end
    checks=[
        lw.check.not_null("origin"),
        lw.check.between("temp", 5, 110),  # Fahrenheit
        lw.check.between("dewp", -25, 90),
        lw.check.between("humid", 0, 100),
    ],
)

at_origin = p.features(
    weather, entity="origin", columns=["temp", "precip", "visib", "wind_speed"], ttl="3h", name="weather_at_origin"
)
recent = [
    p.aggregates(
        flights,
        entity=entity,
        over=["3h", "24h"],
        counts="known",  # what landed in the last 3 hours, not what was scheduled then and happens to have landed
        late_share=lw.agg.mean("is_late"),
        landed=lw.agg.count("is_late"),
    )
    for entity in ("carrier", "origin", "dest", "tailnum")
]


@p.on_request(inputs=["scheduled_at", "carrier", "origin", "dest", "distance"])
def asked(request: pl.DataFrame) -> pl.DataFrame:  # the same function trains and serves
    local = pl.col("scheduled_at").dt.convert_time_zone("America/New_York")
    return request.select("carrier", "origin", "dest", "distance", hour=local.dt.hour(), weekday=local.dt.weekday())


inputs = p.feature_service("late", [asked, at_origin, *recent], label=flights["is_late"], task="binary")


@p.train(model="late", inputs=inputs, window="all", holdout="14d", refit=True)
def fit(rows: lw.TrainingSet, learning_rate: float = 0.1, trees: int = 100) -> lightgbm.LGBMClassifier:
    X, y = rows.xy()  # pandas; also .polars() .numpy() .torch()
    model = lightgbm.LGBMClassifier(n_estimators=trees, learning_rate=learning_rate, n_jobs=2, verbose=-1)
    return model.fit(X, y)


# the yardstick: the same recipe, retrained blindly every 30 days; it runs as an unseen shadow and never answers
p.train(model="late", inputs=inputs, holdout=None, name="calendar", alias="calendar", every="30d")(fit)

p.deployment(
    "late",
    model="late",
    gates=[
        lw.gate.at_least("roc_auc", 0.65),
        lw.gate.beats_champion("roc_auc"),
        lw.gate.data_checks(),
        lw.gate.latency(p99_ms=5),
    ],
    rollout=[
        lw.Shadow("7d", no_worse="roc_auc", margin=0.01),  # quality is judged in shadow: all traffic, paired
        lw.Canary([0.05, 0.25], hold="6h", guard=["error_rate", "latency_p99"], least_rows=8),
    ],
    approve=lw.Approve(first="person", retrain="policy"),
    follow=["frozen", "calendar"],
    monitor=lw.Monitor(
        every="1d",
        grace="1h",
        drift="psi",
        above=0.2,
        over="7d",  # drift is judged on full weeks: a day of weather is never a draw from a year
        persist=1,  # one window is enough, for it looks back a week
        performance="roc_auc",
        span="28d",
        segments=["carrier"],
        ignore=["hour", "weekday"],  # the clock's own columns are not drift
        value="25*true_positive - 5*false_positive",
        unit="USD",
    ),
    retrain=lw.Retrain(
        fit,
        at_most="1 per 5w",
        when=[
            lw.when.drift(features=3),
            lw.when.decay("roc_auc", by=0.02, against="holdout", least_labels=12_000),
            lw.when.older_than("60d"),
        ],
    ),
)
