"""The world of this example: claims of which it is known late, mostly very late, whether they were fraud.

A claim has an amount, the age of the customer's contract, a channel and a broker. The odds of fraud:

    logit P(fraud) = -1.6 + 0.9 log-amount + 0.8 is_new + 0.7 is_online + broker,   broker ~ Normal(0, 0.5), fixed

Whether it was is known after a lag. Each claim draws a slowness, and the lag is the quantile of that slowness:

    slowness = -1.1 is_fraud - 0.9 log-amount + 0.6 is_new + Normal(0, 1)
    quantiles of the lag: 0 d at 0, 1 d at 10 %, 40 d at 50 %, 200 d at 90 %, 390 d at 99 %, 420 d at 100 %,
    log-linear between them

So fraud on a large amount is known within days, and what is known quickly is no sample of what is true: among claims
that were settled within a month the amount nearly tells the outcome.

Everything follows from a seed.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
BROKERS = 40
LAG_SHARES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)
LAG_DAYS = (0.02, 1.0, 40.0, 200.0, 390.0, 420.0)


def claims(days: int, a_day: int = 60, seed: int = 7) -> pl.DataFrame:
    """Return all claims of some days with their outcome and the moment when it is known, by ``opened_at``."""
    chance = np.random.default_rng(seed)
    count = days * a_day
    opened = np.sort(chance.uniform(0, days, count))
    amount = chance.normal(0, 1, count)
    is_new = chance.random(count) < 0.3
    is_online = chance.random(count) < 0.5
    broker = chance.integers(0, BROKERS, count)
    honest = chance.normal(0, 0.5, BROKERS)
    odds = -1.6 + 0.9 * amount + 0.8 * is_new + 0.7 * is_online + honest[broker]
    is_fraud = chance.random(count) < 1 / (1 + np.exp(-odds))
    slowness = -1.1 * is_fraud - 0.9 * amount + 0.6 * is_new + chance.normal(0, 1, count)
    share = (np.argsort(np.argsort(slowness)) + 0.5) / count
    lag = np.exp(np.interp(share, LAG_SHARES, np.log(LAG_DAYS)))
    return pl.DataFrame(
        {
            "claim_id": [f"c{number:06d}" for number in range(count)],
            "opened_at": _moments(opened),
            "amount": np.round(np.exp(6 + amount), 2),
            "is_new": is_new,
            "channel": np.where(is_online, "online", "office"),
            "broker": [f"b{number}" for number in broker],
            "is_fraud": is_fraud,
            "settled_at": _moments(opened + lag),
        }
    )


def as_seen(rows: pl.DataFrame, day: float) -> pl.DataFrame:
    """Return the claims that were opened by a day, without the outcomes that nobody knew by then."""
    now = at(day)
    is_known = pl.col("settled_at") <= now
    seen = [pl.when(is_known).then(name).otherwise(None).alias(name) for name in ("is_fraud", "settled_at")]
    return rows.filter(pl.col("opened_at") < now).with_columns(seen)


def settled_between(rows: pl.DataFrame, first: float, last: float) -> pl.DataFrame:
    """Return the claims whose outcome became known in ``(first, last]``, days."""
    return rows.filter((pl.col("settled_at") > at(first)) & (pl.col("settled_at") <= at(last)))


def at(day: float) -> datetime:
    """Return the moment at which a day begins."""
    return FIRST_DAY + timedelta(days=day)


def _moments(days: Any) -> pl.Series:
    start = int(FIRST_DAY.timestamp() * 1e6)
    return pl.Series(start + (days * 86_400_000_000).astype(np.int64)).cast(pl.Datetime("us", "UTC"))
