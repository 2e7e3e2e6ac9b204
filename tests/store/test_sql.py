"""Statements that both databases must answer alike."""

from loopwright.store import sql
from loopwright.store.tables import cursors
from loopwright.store.tx import Tx


def test_an_upsert_says_how_many_rows_it_changed(tx: Tx) -> None:
    rows = [{"reader": "a", "position": 1}]
    for do_update, expected in ((False, [1, 0]), (True, [1, 1])):
        tx.connection.execute(cursors.delete())
        said = [sql.upsert(tx.connection, cursors, rows, key=("reader",), do_update=do_update) for _ in range(2)]
        assert said == expected
    several = [{"reader": name, "position": 1} for name in "abc"]
    assert sql.upsert(tx.connection, cursors, several, key=("reader",), do_update=False) == 2
    assert sql.upsert(tx.connection, cursors, [], key=("reader",), do_update=False) == 0


def test_cursors_move(tx: Tx) -> None:
    assert sql.get_cursor(tx.connection, "reactor") == 0
    for position in (5, 9):
        sql.set_cursor(tx.connection, "reactor", position)
    assert sql.get_cursor(tx.connection, "reactor") == 9
