"""A backup holds everything acknowledged when it began, and stores only what is new."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.store.backups import list_backups
from loopwright.store.blobs import open_blob_store
from loopwright.store.tables import blobs
from tests.store.backups.conftest import Platform


def test_what_did_not_change_is_not_stored_again(platform: Platform) -> None:
    platform.register(b"model one" * 1000)
    first = platform.back_up()
    assert first.copied_bytes > 0
    assert platform.back_up().copied_bytes == 0
    platform.register(b"model two" * 1000)
    third = platform.back_up()
    assert 0 < third.copied_bytes < first.copied_bytes + 9000
    assert [one.backup_id for one in list_backups(platform.place)] == platform.place.ids()


def test_a_blob_that_any_row_names_is_in_it_and_one_that_none_names_is_not(platform: Platform) -> None:
    named = platform.register(b"a model")
    stray = platform.blobs.put(b"nobody's").digest
    backup = platform.back_up()
    assert platform.place.objects.has(named)
    assert not platform.place.objects.has(stray)
    assert backup.blobs == 1


def test_a_segment_that_was_sealed_meanwhile_counts_once(platform: Platform) -> None:
    sealed, waits = platform.spool(1, b"one"), platform.spool(2, b"two")
    platform.seal(1)
    backup = platform.back_up()
    assert [Path(file.path).name for file in backup.spool] == [waits.name]
    assert sealed.exists()
    assert platform.place.objects.get(backup.spool[0].digest) == b"two"


def test_a_segment_that_vanishes_while_it_is_read_is_in_the_database_by_then(platform: Platform) -> None:
    file = platform.spool(1, b"one")
    platform.seal(1)
    file.unlink()
    assert platform.back_up().spool == []


def test_a_blob_that_changed_is_told_and_the_rest_is_kept(platform: Platform) -> None:
    broken, whole = platform.register(b"a model"), platform.register(b"another")
    root = Path(platform.blobs.url)
    (root / broken[:2] / broken).write_bytes(b"flipped")
    backup = platform.back_up()
    assert [broken[:12] in problem for problem in backup.problems] == [True]
    assert platform.place.objects.has(whole)


def test_a_blob_that_is_lost_is_told(platform: Platform) -> None:
    lost, whole = platform.register(b"a model"), platform.register(b"another")
    (Path(platform.blobs.url) / lost[:2] / lost).unlink()
    backup = platform.back_up()
    assert [lost[:12] in problem for problem in backup.problems] == [True]
    assert platform.place.objects.has(whole)


def test_a_blob_that_is_freed_meanwhile_is_none_that_is_lost(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = platform.register(b"a model")
    platform.register(b"another")

    def free() -> Iterator[str]:
        platform.database.write(lambda connection: connection.execute(blobs.delete().where(blobs.c.digest == freed)))
        (Path(platform.blobs.url) / freed[:2] / freed).unlink()
        return open_blob_store(platform.blobs.url).digests()

    monkeypatch.setattr(platform.blobs, "digests", free)
    assert platform.back_up().problems == []


def test_a_backup_that_broke_off_is_not_there(platform: Platform, tmp_path: Path) -> None:
    platform.register(b"a model")
    original = platform.place.write
    platform.place.write = lambda *_: (_ for _ in ()).throw(OSError("power"))  # type: ignore[method-assign]
    with pytest.raises(OSError, match="power"):
        platform.back_up()
    assert platform.place.ids() == []
    platform.place.write = original  # type: ignore[method-assign]
    assert platform.back_up().copied_bytes == 0, "what was copied is not copied again"
    assert open_blob_store(str(tmp_path / "backups" / "objects")).has(platform.register(b"a model"))
