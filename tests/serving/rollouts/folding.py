"""Guards asked about all rows at once."""

from collections.abc import Callable

import polars as pl

from loopwright.serving import StepVerdict
from loopwright.serving.rollouts.guards import Guard
from loopwright.serving.rollouts.harm import NEVER


def judge_by(made: type[Guard]) -> Callable[[pl.DataFrame, pl.DataFrame, float], StepVerdict]:
    """Return a function of the rows of a step, the champion's before it and the candidate's share."""

    def judge(rows: pl.DataFrame, before: pl.DataFrame, weight: float) -> StepVerdict:
        guard = made(weight, before.lazy())
        guard.add(rows, NEVER)
        return guard.verdict()

    return judge
