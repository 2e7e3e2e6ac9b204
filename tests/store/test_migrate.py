"""Migrations: they lead to the very tables the rooms declare, on both databases, and never past what they know."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import inspect, text

from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import Conflict
from loopwright.monitoring import DecayLimit, PolicyAnswers
from loopwright.monitoring.targets import shown_channel
from loopwright.store.columns import METADATA
from loopwright.store.engine import Database
from loopwright.store.migrate import current_revision, revisions, upgrade

NEWEST = revisions()[-1]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
    yield database
    database.close()


def clear(database: Database) -> None:
    METADATA.drop_all(database.engine)
    with database.engine.connect() as connection:
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
        connection.commit()


def shape(database: Database) -> dict[str, Any]:
    """What the database itself says about its tables."""
    found = inspect(database.engine)
    return {
        table: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"]) for c in found.get_columns(table)},
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted((u["name"] or "", u["column_names"]) for u in found.get_unique_constraints(table)),
            "indexes": sorted((str(i["name"]), i["column_names"], bool(i["unique"])) for i in found.get_indexes(table)),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def test_migrations_lead_to_the_tables_that_the_rooms_declare(empty: Database) -> None:
    METADATA.create_all(empty.engine)
    declared = shape(empty)
    clear(empty)
    upgrade(empty, to=revisions()[0])
    upgrade(empty)
    migrated = shape(empty)
    assert set(migrated) == set(METADATA.tables), 'run: python -m tools.write_migration "why"'
    for table, expected in declared.items():
        assert migrated[table] == expected, f'{table}: run: python -m tools.write_migration "why"'


def test_upgrading_twice_is_once(empty: Database) -> None:
    upgrade(empty)
    assert upgrade(empty) is None
    assert empty.read(current_revision) == NEWEST


def test_several_servers_that_start_at_once_migrate_once(empty: Database) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: upgrade(empty), range(3)))
    assert empty.read(current_revision) == NEWEST


def test_a_database_of_a_newer_version_is_refused_and_left_alone(empty: Database) -> None:
    upgrade(empty)
    with empty.engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    with pytest.raises(Conflict, match="newer version"):
        upgrade(empty)
    assert empty.read(current_revision) == "9999"


def test_an_older_database_is_copied_and_keeps_its_rows(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    upgrade(database, to=revisions()[0])
    with database.engine.connect() as connection:
        connection.execute(text("INSERT INTO cursors VALUES ('reactor', 7)"))
        connection.commit()
    copy = upgrade(database)
    assert copy is not None
    for place in (copy, tmp_path / "test.db"):
        opened = Database(f"sqlite:///{place}")
        assert opened.read(lambda connection: connection.execute(text("SELECT position FROM cursors")).scalar()) == 7
        opened.close()
    assert database.read(current_revision) == NEWEST
    assert copy.stat().st_mode & 0o077 == 0
    database.close()


def test_a_failing_migration_leaves_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    upgrade(database, to=revisions()[0])
    with database.engine.connect() as connection:  # in the way of a later revision
        connection.execute(text("CREATE TABLE runs (x TEXT)"))
        connection.commit()
    before = shape(database)
    with pytest.raises(Exception, match="already exists"):
        upgrade(database)
    assert shape(database) == before
    assert database.read(current_revision) == revisions()[0]
    database.close()


def test_tables_from_before_revisions_were_kept_are_taken_over(empty: Database) -> None:
    METADATA.create_all(empty.engine)
    upgrade(empty)
    assert empty.read(current_revision) == NEWEST


def test_revisions_are_one_line() -> None:
    assert revisions() == [f"{number:04}" for number in range(1, len(revisions()) + 1)]


def test_a_fresh_database_needs_no_migration_library(tmp_path: Path) -> None:
    code = f"""
import sys
from loopwright.rooms import import_rooms
from loopwright.store.engine import Database
from loopwright.store.migrate import upgrade
import_rooms()
for _ in range(2):
    upgrade(Database("sqlite:///{tmp_path / "test.db"}"))
print("alembic" in sys.modules)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_monitor_takes_over_the_limits_of_the_policy_that_was_applied(empty: Database) -> None:
    when = [{"kind": "drift", "args": {"features": 3}}, {"kind": "decay", "args": {"by": 0.03, "least_labels": 900}}]
    specs = [{"retrains": []}, {"retrains": [{"deployment": "late", "when": when}]}, {"retrains": []}]
    upgrade(empty, to="0007")
    with empty.engine.connect() as connection:
        for project, number, spec in (("a", 1, specs[0]), ("a", 2, specs[1]), ("b", 1, specs[1]), ("b", 2, specs[2])):
            row = {"project": project, "number": number, "spec": json.dumps(spec)}
            connection.execute(text("INSERT INTO applied_specs VALUES (:project, :number, 'd', :spec, 'x', 0)"), row)
        for project in ("a", "b"):
            rest = "'{}', 'binary', false, true, '', 0, NULL, '{}', NULL, 0, 0"
            connection.execute(text(f"INSERT INTO monitors VALUES (:project, 'late', {rest})"), {"project": project})
        connection.commit()
    upgrade(empty)
    found = empty.read(lambda connection: connection.execute(text("SELECT project_id, policy FROM monitors")).all())
    policies = {project: policy and msgspec.json.decode(policy, type=PolicyAnswers) for project, policy in found}
    assert policies == {"a": PolicyAnswers(drift=True, decay=[DecayLimit(0.03, 900)]), "b": None}


def test_targets_leave_the_jobs_and_answers_of_before(empty: Database) -> None:
    url, gone = "https://hooks.example/T0/B0/se%_\\cret", "https://hooks.example/left"
    shown = shown_channel(f"webhook:{url}")
    upgrade(empty, to="0025")
    with empty.engine.connect() as connection:
        kept = {"channel": shown, "target": url}
        connection.execute(text("INSERT INTO channel_targets VALUES ('a', :channel, :target)"), kept)
        columns = "project_id, job_id, kind, ref, args, state, attempt, event_at, recorded_at, error"
        values = "'a', :job_id, :kind, 'r', :args, 'done', 1, 0, 0, :error"
        for job_id, kind, channel in (
            ("1", "monitoring.deliver_alert", f"webhook:{url}"),
            ("2", "monitoring.deliver_alert", f"webhook:{gone}"),
            ("3", "monitoring.deliver_alert", "log"),
            ("4", "data.import", "log"),
        ):
            told = to_json({"channel": channel, "incident_id": "i"}).decode()
            row = {"job_id": job_id, "kind": kind, "args": told, "error": told}
            connection.execute(text(f"INSERT INTO jobs ({columns}) VALUES ({values})"), row)
        answer = to_json({"spec": {"channels": [f"webhook:{url}", "log"]}}).decode()
        key = "INSERT INTO idempotency_keys VALUES ('a', 'k', 'd', :answer, 0)"
        connection.execute(text(key), {"answer": answer})
        connection.commit()
    upgrade(empty)

    def ask(statement: str) -> list[Any]:
        return empty.read(lambda connection: list(connection.execute(text(statement)).all()))

    told = [json.loads(args)["channel"] for (args,) in ask("SELECT args FROM jobs ORDER BY job_id")]
    assert told == [shown, shown_channel(f"webhook:{gone}"), "log", "log"]
    everything = str([ask(f"SELECT * FROM {table}") for table in ("jobs", "idempotency_keys")])
    assert "T0" not in everything
    assert "/left" not in everything
    targets = dict(ask("SELECT channel, target FROM channel_targets"))
    assert targets == {shown: url, shown_channel(f"webhook:{gone}"): gone}, "what waits is still delivered"


def test_versions_that_were_restored_before_say_so(empty: Database) -> None:
    upgrade(empty, to="0035")
    with empty.engine.connect() as connection:
        columns = "project_id, dataset, version, state, operation, base, digest, row_sum, schema, rows, size_bytes"
        rest = "checks, raw, spec, event_at, recorded_at, reason"
        values = "'a', 'weather', :version, 'ready', 'replace', 1, 'd', '', '[]', 1, 1, '[]', '[]', '{}', 0, 0, ''"
        for version in (12, 13):
            insert = f"INSERT INTO dataset_versions ({columns}, {rest}) VALUES ({values})"
            connection.execute(text(insert), {"version": version})
        edge = "'a', 'a/dataset:weather/13', 'a/dataset:weather/10', 'restored_from', 0"
        connection.execute(text(f"INSERT INTO lineage VALUES ({edge})"))
        connection.commit()
    upgrade(empty)
    asked = text("SELECT version, restored_from, restored_as FROM dataset_versions ORDER BY version")
    found = empty.read(lambda connection: connection.execute(asked).all())
    assert found == [(12, None, ""), (13, 10, "")]
