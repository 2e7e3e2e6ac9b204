"""Statements built once: they answer as SQLAlchemy does, on both databases, errors and all."""

from typing import Any

import pytest
from sqlalchemy import bindparam, delete, exc, insert, select, update

from loopwright.store.engine import Connection, Database
from loopwright.store.statements import Statement
from loopwright.store.tables import cursors, jobs
from loopwright.tracking.tables import run_metrics

_add = Statement(insert(cursors), ("reader", "position"))
_find = Statement(select(cursors).where(cursors.c.reader == bindparam("name")))
_list = Statement(select(cursors).where(cursors.c.position >= 2).order_by(cursors.c.reader))
_move = Statement(update(cursors).where(cursors.c.reader == bindparam("name")).values(position=bindparam("to")))
_drop = Statement(delete(cursors).where(cursors.c.reader == bindparam("name")))


def test_rows_go_in_and_come_out(database: Database) -> None:
    def change(connection: Connection) -> tuple[int, int, int, int]:
        one = _add.run(connection, reader="a", position=1)
        more = _add.run_each(connection, [{"reader": "b", "position": 2}, {"reader": "c", "position": 3}])
        return one, more, _move.run(connection, name="a", to=9), _drop.run(connection, name="nobody")

    assert database.write(change) == (1, 2, 1, 0)
    with database.reading() as connection:
        assert _find.first(connection, name="a").position == 9
        assert _find.first(connection, name="nobody") is None
        assert _find.scalar(connection, name="b") == "b"
        assert _find.scalar(connection, name="nobody") is None
        assert [tuple(row) for row in _list.all(connection)] == [("a", 9), ("b", 2), ("c", 3)]
        assert dict(_find.first(connection, name="c")._mapping) == {"reader": "c", "position": 3}


def test_values_have_the_types_of_their_columns(database: Database) -> None:
    document = {"b": [1, None, "ü"], "a": {"x": 0.5}}
    row: dict[str, Any] = {"project_id": "p", "job_id": "j", "kind": "k", "ref": "r", "args": document}
    row |= {"state": "queued", "attempt": 0, "event_at": 2**62, "recorded_at": 1}
    put = Statement(insert(jobs), tuple(row))
    database.write(lambda connection: put.run(connection, **row))
    get = Statement(select(jobs.c.args, jobs.c.event_at, jobs.c.result).where(jobs.c.job_id == bindparam("job")))
    with database.reading() as connection:
        assert tuple(get.first(connection, job="j")) == (document, 2**62, None)


def test_numbers_of_either_database_are_floats(database: Database) -> None:
    row = {"project_id": "p", "run_id": "r", "key": "k", "step": 1, "at_us": 1, "number": 0.1}
    put, get = Statement(insert(run_metrics), tuple(row)), Statement(select(run_metrics.c.number))
    database.write(lambda connection: put.run(connection, **row))
    assert database.read(get.scalar) == 0.1


def test_errors_are_those_of_sqlalchemy_and_the_transaction_ends_with_them(database: Database) -> None:
    with database.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN" if database.is_sqlite else "SELECT 1")
        _add.run(connection, reader="a", position=1)
        with pytest.raises(exc.IntegrityError):
            _add.run(connection, reader="a", position=2)
    with database.reading() as connection:
        assert _find.first(connection, name="a") is None
    assert database.write(lambda connection: _add.run(connection, reader="a", position=3)) == 1
