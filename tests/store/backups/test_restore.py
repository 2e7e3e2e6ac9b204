"""A restored platform is the one that was backed up, on whichever database."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Dispatcher, audit
from loopwright.kernel.errors import Conflict, Corrupt, LoopwrightError, Unauthenticated
from loopwright.store.backups import Backup, refuse_half_restored, restore_backup, verify_backup
from loopwright.store.backups.pages import tables_of
from loopwright.store.backups.place import BackupPlace
from loopwright.store.blobs import open_blob_store
from loopwright.store.engine import Connection, Database
from tests.store.backups.conftest import Platform


def rows_of(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    tables = tables_of(connection)
    return {
        table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
        for table in tables
    }


def test_every_row_and_blob_comes_back_and_the_chain_holds(platform: Platform, empty: Database, tmp_path: Path) -> None:
    digest = platform.register(b"a model")
    platform.spool(3, b"three")
    backup = platform.back_up()
    blobs = open_blob_store(str(tmp_path / "new" / "blobs"))
    restore_backup(backup, platform.place, empty, blobs, tmp_path / "new")
    assert empty.read(rows_of) == platform.database.read(rows_of)
    assert empty.read(audit.verify_chain) == platform.database.read(audit.verify_chain) > 0
    assert blobs.get(digest) == b"a model"
    assert (tmp_path / "new" / backup.spool[0].path).read_bytes() == b"three"
    assert not (tmp_path / "new" / "gateway-0" / "writer.id").exists(), "a new name: numbers are used once"


def test_a_backup_in_a_bucket_comes_back_where_nothing_else_is_left(
    platform: Platform, empty: Database, bucket: str, tmp_path: Path
) -> None:
    address = f"{bucket}/{tmp_path.name}/backups"
    platform.place = BackupPlace(address, tmp_path / "copies")
    digest = platform.register(b"a model")
    first = platform.back_up()
    kept = set(platform.place.objects.digests())
    platform.tag("later")
    platform.back_up()
    assert digest in kept < set(platform.place.objects.digests()), "what did not change is there once"
    elsewhere = BackupPlace(f"{address}/", tmp_path / "elsewhere")
    assert elsewhere.ids()[0] == first.backup_id
    newest = elsewhere.read(elsewhere.ids()[-1], Backup)
    assert verify_backup(newest, elsewhere, lambda connection: None) == []
    blobs = open_blob_store(f"{bucket}/{tmp_path.name}/restored", tmp_path / "restored")
    restore_backup(newest, elsewhere, empty, blobs, tmp_path / "new")
    assert empty.read(rows_of) == platform.database.read(rows_of)
    assert blobs.get(digest) == b"a model"


def test_a_restored_platform_goes_on(platform: Platform, empty: Database, tmp_path: Path) -> None:
    platform.register(b"a model")
    alive = {"gateway": "g", "address": "http://of-then", "position": 0}
    platform.dispatcher.call("serving.acknowledge", alive, actor=SERVICE_ACTOR, project="_system")
    blobs = open_blob_store(str(tmp_path / "new" / "blobs"))
    restore_backup(platform.back_up(), platform.place, empty, blobs, tmp_path / "new")
    before = empty.read(audit.verify_chain)
    goes_on = Platform(Dispatcher(empty, platform.clock), blobs, tmp_path / "new", platform.place, platform.clock)
    goes_on.register(b"another")
    assert empty.read(audit.verify_chain) > before
    versions = goes_on.dispatcher.call("registry.versions", {"model": "late"}, actor=LOCAL_ACTOR, project="flights")
    assert [one.version for one in versions] == [2, 1]
    assert goes_on.dispatcher.call("serving.gateways", {}, actor=LOCAL_ACTOR, project="flights") == []


def test_who_was_signed_in_signs_in_anew(platform: Platform, empty: Database, tmp_path: Path) -> None:
    """A session that was ended since the backup does not begin again."""
    made = {"actor": "person:ana", "role": "viewer"}
    token = platform.dispatcher.call("tokens.create", made, actor=LOCAL_ACTOR, project="flights").secret
    session = platform.dispatcher.begin_session(token)
    blobs = open_blob_store(str(tmp_path / "new" / "blobs"))
    restore_backup(platform.back_up(), platform.place, empty, blobs, tmp_path / "new")
    restored = Dispatcher(empty, platform.clock)
    assert restored.authenticate(token).name == "person:ana"
    with pytest.raises(Unauthenticated):
        restored.authenticate(session)


@pytest.mark.slow
def test_a_backup_of_sqlite_goes_into_postgresql_and_keys_grow_on(
    postgres_url: str, dispatcher: Dispatcher, platform: Platform, tmp_path: Path
) -> None:
    if not dispatcher.database.is_sqlite:
        pytest.skip("goes from SQLite to PostgreSQL")
    platform.register(b"a model")
    target = Database(postgres_url)
    with target.engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    blobs = open_blob_store(str(tmp_path / "new-blobs"))
    restore_backup(platform.back_up(), platform.place, target, blobs, tmp_path / "new-state")
    events = target.read(audit.verify_chain)
    there = Dispatcher(target, platform.clock)
    there.call("projects.create", {"name": "more", "owner": "ops"}, actor=SERVICE_ACTOR, project="_system")
    target.seal()
    assert target.read(audit.verify_chain) > events
    target.close()


def test_what_is_not_empty_is_left_alone(platform: Platform, tmp_path: Path) -> None:
    platform.register(b"a model")
    backup = platform.back_up()
    before = platform.database.read(rows_of)
    with pytest.raises(Conflict, match="not empty"):
        restore_backup(backup, platform.place, platform.database, platform.blobs, tmp_path / "other")
    assert platform.database.read(rows_of) == before


def test_what_broke_off_once_the_rows_were_there_goes_on_and_nobody_works_on_it_before(
    platform: Platform, empty: Database, tmp_path: Path
) -> None:
    platform.register(b"a model")
    older, backup = platform.back_up(), platform.back_up()
    blobs = open_blob_store(str(tmp_path / "new" / "blobs"))

    def restore(which: Backup, tell: Callable[[], object]) -> None:
        restore_backup(which, platform.place, empty, blobs, tmp_path / "new", tell)

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(backup, die)
    with pytest.raises(Conflict, match="half restored") as refused:
        refuse_half_restored(empty)
    assert f"--backup {backup.backup_id}" in str(refused.value.next_step)
    with pytest.raises(Conflict, match="half restored"):
        restore(older, lambda: None)
    told = []
    restore(backup, lambda: told.append("told"))
    assert told == ["told"]
    refuse_half_restored(empty)
    assert empty.read(rows_of) == platform.database.read(rows_of)
    with pytest.raises(Conflict, match="not empty"):
        restore(backup, lambda: None)


def test_a_backup_of_a_newer_version_is_refused(platform: Platform, empty: Database, tmp_path: Path) -> None:
    backup = msgspec.structs.replace(platform.back_up(), revision="9999")
    with pytest.raises(Conflict, match="newer version"):
        restore_backup(backup, platform.place, empty, platform.blobs, tmp_path / "new")


def test_a_backup_that_lacks_a_table_is_refused_by_its_name(
    platform: Platform, empty: Database, tmp_path: Path
) -> None:
    whole = platform.back_up()
    backup = msgspec.structs.replace(whole, tables=[dump for dump in whole.tables if dump.name != "events"])
    with pytest.raises(Corrupt, match="lacks a table") as refused:
        restore_backup(backup, platform.place, empty, platform.blobs, tmp_path / "new")
    assert refused.value.field == "events"


def test_a_changed_page_restores_nothing_and_can_be_tried_again(
    platform: Platform, empty: Database, tmp_path: Path
) -> None:
    platform.register(b"a model")
    backup = platform.back_up()
    page = next(table.pages[0] for table in backup.tables if table.name == "model_versions")
    file = tmp_path / "backups" / "objects" / page[:2] / page
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    blobs = open_blob_store(str(tmp_path / "new" / "blobs"))
    with pytest.raises(LoopwrightError):
        restore_backup(backup, platform.place, empty, blobs, tmp_path / "new")
    assert not any(empty.read(rows_of)["events"])
    file.write_bytes(whole)
    restore_backup(backup, platform.place, empty, blobs, tmp_path / "new")
    assert empty.read(rows_of) == platform.database.read(rows_of)


@pytest.mark.parametrize("path", ["../x/spool/a/b/c/1.log", "/etc/spool/a/b/c/1.log", "gateway-0/spool/../../x/1.log"])
def test_a_spool_path_that_leads_elsewhere_writes_nothing(
    platform: Platform, empty: Database, tmp_path: Path, path: str
) -> None:
    platform.spool(1, b"rows")
    backup = platform.back_up()
    forged = [msgspec.structs.replace(backup.spool[0], path=path)]
    with pytest.raises(Corrupt, match="spool"):
        restore_backup(
            msgspec.structs.replace(backup, spool=forged), platform.place, empty, platform.blobs, tmp_path / "new"
        )
    assert not list(tmp_path.rglob("1.log"))
