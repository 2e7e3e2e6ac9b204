"""Every statement about backtests."""

from typing import Any

from sqlalchemy import insert, select, update

from loopwright.kernel.documents import convert, to_builtins
from loopwright.loop.tables import backtests
from loopwright.loop.types import Backtest, ProjectSpec
from loopwright.store.rows import read_row, row_of
from loopwright.store.tx import Tx


def insert_backtest(tx: Tx, backtest: Backtest, spec: ProjectSpec) -> None:
    """Add a backtest with what it plays."""
    tx.execute(insert(backtests), row_of(tx, backtests, backtest, spec=to_builtins(spec)))


def update_backtest(tx: Tx, backtest_id: str, **values: Any) -> None:
    """Change columns of a backtest."""
    is_this = (backtests.c.project_id == tx.project, backtests.c.backtest_id == backtest_id)
    tx.execute(update(backtests).where(*is_this).values(**values))


def find_backtest(tx: Tx, backtest_id: str) -> Backtest | None:
    """Return one backtest."""
    is_this = (backtests.c.project_id == tx.project, backtests.c.backtest_id == backtest_id)
    row = tx.execute(select(backtests).where(*is_this)).first()
    return None if row is None else read_row(row, Backtest)


def find_spec(tx: Tx, backtest_id: str) -> ProjectSpec | None:
    """Return what a backtest plays."""
    is_this = (backtests.c.project_id == tx.project, backtests.c.backtest_id == backtest_id)
    spec = tx.execute(select(backtests.c.spec).where(*is_this)).scalar()
    return None if spec is None else convert(spec, ProjectSpec)


def unsettled_backtests(tx: Tx) -> list[Backtest]:
    """Return the backtests that run, or that have a project of their own."""
    is_unsettled = (backtests.c.state == "running") | backtests.c.scratch.is_not(None)
    rows = tx.execute(select(backtests).where(backtests.c.project_id == tx.project, is_unsettled))
    return [read_row(row, Backtest) for row in rows]


def list_backtests(tx: Tx, deployment: str | None, limit: int) -> list[Backtest]:
    """Return backtests, newest first."""
    statement = select(backtests).where(backtests.c.project_id == tx.project)
    if deployment is not None:
        statement = statement.where(backtests.c.deployment == deployment)
    rows = tx.execute(statement.order_by(backtests.c.backtest_id.desc()).limit(limit))
    return [read_row(row, Backtest) for row in rows]
