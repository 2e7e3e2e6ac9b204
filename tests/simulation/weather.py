"""Which faults befall one history, and how often: each seed has its own weather, so that some are rough in one way."""

from random import Random

RATES = {
    "crash.statement": 0.02,
    "crash.before_commit": 0.03,
    "crash.after_commit": 0.03,
    "database.statement": 0.02,
    "database.commit": 0.03,
    "database.full": 0.03,
    "database.slow": 0.02,
    "database.pause": 0.3,
    "network.lost": 0.06,
    "network.twice": 0.06,
    "network.answer_lost": 0.06,
    "verb.fails": 0.15,
    "verb.crashes": 0.05,
    "disk.crash": 0.02,
    "disk.full": 0.03,
    "disk.short": 0.03,
    "disk.sync": 0.03,
    "director.kill": 0.08,
    "director.drain": 0.03,
    "director.jump": 0.06,
    "director.power": 0.04,
}
"""The usual rate of each fault: a chance at each place where it may come; those of the director are per second."""


def draw(chance: Random) -> dict[str, float]:
    """Return the rates of one history: about half of the faults, some rarer, some more often than usual."""
    return {kind: rate * chance.choice((0.3, 1.0, 1.0, 3.0)) for kind, rate in RATES.items() if chance.random() < 0.5}
