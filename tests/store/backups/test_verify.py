"""A backup is proved by reading all of it."""

import json
from pathlib import Path

import pytest

from loopwright.governance import audit
from loopwright.kernel.errors import Corrupt
from loopwright.store.backups import Backup, list_backups, verify_backup
from loopwright.store.engine import Connection
from tests.store.backups.conftest import Platform


def test_a_whole_backup_has_nothing_wrong(platform: Platform) -> None:
    platform.register(b"a model")
    platform.spool(1, b"rows")
    backup = platform.back_up()
    chained: list[int] = []

    def check(connection: Connection) -> None:
        chained.append(audit.verify_chain(connection))

    assert verify_backup(backup, platform.place, check) == []
    assert chained == [platform.database.read(audit.verify_chain)]


def test_each_lost_or_changed_object_is_named(platform: Platform, tmp_path: Path) -> None:
    digest = platform.register(b"a model")
    platform.spool(1, b"rows")
    backup = platform.back_up()
    objects = tmp_path / "backups" / "objects"
    (objects / digest[:2] / digest).write_bytes(b"another model")
    segment = backup.spool[0].digest
    (objects / segment[:2] / segment).unlink()
    page = next(table.pages[0] for table in backup.tables if table.name == "events")
    (objects / page[:2] / page).write_bytes(b"no page")
    problems = verify_backup(backup, platform.place)
    assert [digest[:12] in problem for problem in problems] == [True, False, False]
    assert segment[:12] in problems[1]
    assert "changed" in problems[2]


def test_a_changed_document_is_no_backup_and_one_of_an_older_version_is(platform: Platform, tmp_path: Path) -> None:
    """Objects are known by their digests; what names them was not."""
    platform.register(b"a model")
    platform.spool(1, b"rows")
    backup = platform.back_up()
    file = tmp_path / "backups" / "backups" / f"{backup.backup_id}.json"
    written = file.read_bytes()
    assert platform.place.read(backup.backup_id, Backup) == backup
    file.write_bytes(written.replace(b"predictions/late", b"predictions/lbte"))  # its rows would go elsewhere
    with pytest.raises(Corrupt, match="was changed") as refused:
        platform.place.read(backup.backup_id, Backup)
    assert refused.value.value == backup.backup_id
    file.write_text(json.dumps(json.loads(written) | {"copied_bytes": 1}))
    with pytest.raises(Corrupt, match="was changed"):
        platform.place.read(backup.backup_id, Backup)
    file.write_bytes(written.rpartition(b',"digest"')[0] + b"}")
    assert list_backups(platform.place) == [backup]
