"""Statements that find and remove points of metrics of runs that ended."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, func, not_, select, update

from loopwright.store.tx import Tx
from loopwright.tracking.tables import metric_points, run_metrics, runs


def runs_with_old_points(tx: Tx, experiment: str, finished_before: int, limit: int) -> list[str]:
    """Return runs of an experiment that ended before a moment of wall time and have all their points, oldest first."""
    statement = select(runs.c.run_id).where(
        runs.c.project_id == tx.project,
        runs.c.experiment == experiment,
        runs.c.finished_at < finished_before,
        runs.c.points_removed_at.is_(None),
    )
    return list(tx.connection.scalars(statement.order_by(runs.c.finished_at, runs.c.run_id).limit(limit)))


def count_points(tx: Tx, run_ids: Sequence[str]) -> int:
    """Return how many points of runs would go: all but the last of each metric."""
    counted = select(func.count()).select_from(metric_points).where(*_not_last(tx, run_ids))
    return int(tx.execute(counted).scalar_one()) if run_ids else 0


def remove_points(tx: Tx, run_ids: Sequence[str], limit: int) -> int:
    """Remove at most so many points of runs, but for the last of each metric; return how many."""
    some = select(metric_points.c.point_id).where(*_not_last(tx, run_ids)).limit(limit)
    gone = delete(metric_points).where(metric_points.c.project_id == tx.project, metric_points.c.point_id.in_(some))
    return int(tx.execute(gone).rowcount) if run_ids else 0


def mark_without_points(tx: Tx, run_ids: Sequence[str]) -> None:
    """Write down that only the last points of runs are left."""
    these = update(runs).where(runs.c.project_id == tx.project, runs.c.run_id.in_(list(run_ids)))
    tx.execute(these.values(points_removed_at=tx.wall_us))


def _not_last(tx: Tx, run_ids: Sequence[str]) -> list[ColumnElement[bool]]:
    p, last = metric_points.c, run_metrics.c
    is_last = and_(
        last.project_id == p.project_id,
        last.run_id == p.run_id,
        last.key == p.key,
        last.step == p.step,
        last.at_us == p.at_us,
    )
    return [p.project_id == tx.project, p.run_id.in_(list(run_ids)), not_(exists().where(is_last))]
