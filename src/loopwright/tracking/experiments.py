"""Queries of experiments: an experiment is there once a run names it."""

from loopwright.kernel.verbs import query
from loopwright.store.tx import Tx
from loopwright.tracking import sql
from loopwright.tracking.types import Experiment


@query("tracking.experiments")
def list_experiments(tx: Tx) -> list[Experiment]:
    """Return experiments with counts of their runs, the one that ran last first."""
    return sql.list_experiments(tx)
