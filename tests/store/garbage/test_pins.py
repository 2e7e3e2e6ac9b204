"""No blob that a row names can be forgotten: every column is declared, and a real state agrees."""

import re
import tarfile
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, Text, inspect, text

from loopwright.rooms import import_rooms
from loopwright.store.blobs import open_blob_store
from loopwright.store.columns import METADATA, project_key
from loopwright.store.engine import Database
from loopwright.store.garbage import NO_PINS, PINS, columns_to_scan, undeclared
from loopwright.store.garbage.pins import named_blobs
from loopwright.store.migrate import upgrade

KEPT = Path(__file__).parents[2] / "flows" / "kept" / "state-at-0006.tar.xz"
TOLD_ONLY = {"events", "blobs", "condemned_blobs", "idempotency_keys", "run_params", "run_tags"}
"""Tables in which a digest may stand although it keeps nothing."""

import_rooms("tables")


def test_every_column_of_text_is_declared() -> None:
    assert undeclared() == [], "say in store/garbage/pins.py whether this column names blobs"
    known = {f"{table.name}.{column.name}" for table in METADATA.sorted_tables for column in table.columns}
    known |= {name for table in METADATA.tables for name in (table, f"{table}.*")}
    assert set(PINS) | set(NO_PINS) <= known


def test_a_column_that_nobody_declared_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("plugin_models", MetaData(), project_key(), Column("weights_digest", Text))
    monkeypatch.setattr("loopwright.store.garbage.pins.METADATA", table.metadata)
    assert undeclared() == ["plugin_models.project_id", "plugin_models.weights_digest"]
    assert columns_to_scan(table) == {"project_id": "other rows", "weights_digest": "other rows"}


def names_blob(value: object, stored: set[str]) -> bool:
    return any(digest in stored for digest in re.findall("[0-9a-f]{64}", str(value)))


@pytest.fixture
def old_state(tmp_path: Path) -> Path:
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "state"


@pytest.mark.slow
def test_wherever_a_real_state_names_a_stored_blob_a_column_is_declared(old_state: Path) -> None:
    database = Database(f"sqlite:///{old_state / 'loopwright.db'}")
    stored = set(open_blob_store(str(old_state / "blobs")).digests())
    try:
        upgrade(database)
        with database.reading() as connection:
            declared = named_blobs(connection)
            names = [name for name in inspect(connection).get_table_names() if name not in TOLD_ONLY]
            for table in names:
                rows = connection.execute(text(f'SELECT * FROM "{table}"')).mappings()
                columns = {column for row in rows for column, value in row.items() if names_blob(value, stored)}
                assert {f"{table}.{column}" for column in columns} <= set(PINS)
        assert len(declared.keys() & {bytes.fromhex(name) for name in stored}) > 20
    finally:
        database.close()
