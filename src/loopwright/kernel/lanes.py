"""Lanes: the queues of jobs there are."""

from typing import Literal

Lane = Literal["looks", "work", "training", "upkeep", "backtests"]
LANES: tuple[Lane, ...] = ("looks", "work", "training", "upkeep", "backtests")
"""Queues of jobs: one never waits behind another. ``looks`` are short and something waits for them (a canary's look, an
alert), ``work`` takes seconds to minutes (imports, windows, fills), ``training`` runs people's code for hours.
``upkeep`` changes nothing that anybody sees. ``backtests`` play in a project of their own, and wait there for jobs of
all the other lanes."""
