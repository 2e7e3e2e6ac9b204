"""Old backups are let go of; what a newer one needs, or one that is being made, stays."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US, FixedClock
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import Conflict, Corrupt, Unavailable
from loopwright.store.backups import backup, thin, verify_backup
from tests.store.backups.conftest import Platform


def later(platform: Platform, days: float) -> None:
    """Let time pass, for the files of the place too."""
    platform.clock = FixedClock(platform.clock.now_us() + int(days * DAY_US))
    for file in (Path(platform.place.url) / "objects").rglob("*"):
        os.utime(file, (0, 0))


def test_what_no_kept_backup_names_is_removed_a_day_after_it_was_seen_so(platform: Platform) -> None:
    platform.register(b"a model" * 100)
    first = platform.back_up()
    later(platform, 3)
    platform.register(b"another" * 100)
    second = platform.back_up()
    third = platform.back_up()
    thinned = thin(platform.place, 2, platform.clock)
    assert (thinned.backups, thinned.freed_bytes) == ([first.backup_id], 0)
    assert thinned.spare_bytes > 0
    later(platform, 0.9)
    assert thin(platform.place, 2, platform.clock).freed_bytes == 0
    later(platform, 0.2)
    assert thin(platform.place, 2, platform.clock).freed_bytes == thinned.spare_bytes
    assert thin(platform.place, 2, platform.clock).spare_bytes == 0
    assert platform.place.ids() == [second.backup_id, third.backup_id]
    assert [verify_backup(backup, platform.place) for backup in (second, third)] == [[], []]


def test_a_backup_that_is_made_meanwhile_keeps_what_it_found_there(platform: Platform) -> None:
    """It begins before an older one is let go of, does not copy what that one holds, and ends afterwards."""
    platform.register(b"a model" * 100)
    platform.back_up()
    later(platform, 3)
    write = platform.place.write

    def write_late(backup_id: str, document: bytes) -> None:
        platform.tag("meanwhile")
        newest.append(backup_id)
        thin(platform.place, 1, platform.clock)
        later(platform, 0.5)
        write(backup_id, document)

    newest: list[str] = []
    platform.back_up()
    platform.place.write = write_late  # type: ignore[method-assign]
    made = platform.back_up()
    platform.place.write = write  # type: ignore[method-assign]
    later(platform, 0.6)
    thin(platform.place, 1, platform.clock)
    assert platform.place.ids() == [made.backup_id]
    assert verify_backup(made, platform.place) == []


def test_a_backup_keeps_what_a_thinning_beside_it_would_remove(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that went and came back: no backup names it for a day when one begins that does."""
    body = b"a model" * 100
    digest = platform.blobs.put(body).digest
    platform.place.objects.put(body)
    platform.back_up()
    thin(platform.place, 1, platform.clock)
    later(platform, 1.1)
    copy_blobs = backup._copy_blobs

    def copy_late(*args: Any) -> tuple[list[str], list[str]]:
        thinned.append(thin(platform.place, 1, platform.clock).freed_bytes)
        return copy_blobs(*args)

    thinned: list[int] = []
    platform.register(body)
    monkeypatch.setattr(backup, "_copy_blobs", copy_late)
    made = platform.back_up()
    assert thinned[0] >= len(body), "it was gone"
    assert verify_backup(made, platform.place) == []
    assert platform.place.objects.has(digest)


def test_what_is_marked_while_a_backup_is_made_is_put_again_before_its_end(platform: Platform) -> None:
    digest = platform.register(b"a model" * 100)
    platform.back_up()
    later(platform, 3)
    write = platform.place.write

    def write_late(backup_id: str, document: bytes) -> None:
        thinned.append(thin(platform.place, 1, FixedClock(platform.clock.now_us() + DAY_US // 2)).freed_bytes)
        write(backup_id, document)

    thinned: list[int] = []
    platform.place.write = write_late  # type: ignore[method-assign]
    database = platform.database
    seal = database.seal
    database.seal = lambda: (platform.place.write_spare({digest: 0}), seal())[1]  # type: ignore[method-assign]
    platform.place.forget(platform.place.ids()[0])
    made = platform.back_up()
    database.seal = seal  # type: ignore[method-assign]
    assert thinned == [0]
    assert verify_backup(made, platform.place) == []


def test_a_backup_whose_objects_vanish_is_none(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    model = platform.register(b"a model")
    platform.back_up()
    objects = platform.place.objects
    copy_blobs = backup._copy_blobs

    def copy_late(*args: Any) -> tuple[list[str], list[str]]:
        for digest in objects.digests() if is_all else [model]:
            objects.delete(digest)
        return copy_blobs(*args)

    is_all = False
    monkeypatch.setattr(backup, "_copy_blobs", copy_late)
    assert verify_backup(platform.back_up(), platform.place) == []
    is_all = True
    with pytest.raises(Unavailable, match="gone"):
        platform.back_up()
    assert len(platform.place.ids()) == 2


def test_backups_with_problems_are_not_counted(platform: Platform) -> None:
    broken = platform.register(b"a model")
    whole = platform.back_up()
    other = platform.register(b"another")
    (Path(platform.blobs.url) / other[:2] / other).write_bytes(b"flipped")
    bad = platform.back_up()
    assert bad.problems
    assert thin(platform.place, 1, platform.clock).backups == []
    assert platform.place.ids() == [whole.backup_id, bad.backup_id]
    assert platform.place.objects.has(broken)


def test_nothing_is_removed_where_a_backup_does_not_say_what_it_needs(platform: Platform) -> None:
    platform.register(b"a model")
    platform.back_up()
    changed = platform.back_up()
    file = Path(platform.place.url) / "backups" / f"{changed.backup_id}.json"
    file.write_bytes(file.read_bytes().replace(b'"blobs":1', b'"blobs":0'))
    with pytest.raises(Corrupt):
        thin(platform.place, 1, platform.clock)
    assert len(platform.place.ids()) == 2


@pytest.mark.parametrize("named", ["../victim", "{tmp_path}/victim", "{newest}"])
def test_an_old_document_that_names_another_has_nothing_removed(platform: Platform, tmp_path: Path, named: str) -> None:
    platform.register(b"a model")
    old, newest = platform.back_up(), platform.back_up()
    victim = Path(platform.place.url) / "victim.json"
    victim.write_text("{}")
    (tmp_path / "victim.json").write_text("{}")
    forged = msgspec.structs.replace(old, backup_id=named.format(tmp_path=tmp_path, newest=newest.backup_id))
    platform.place.write(old.backup_id, to_json(forged))
    with pytest.raises(Corrupt, match="that of another"):
        thin(platform.place, 1, platform.clock)
    assert victim.exists()
    assert (tmp_path / "victim.json").exists()
    assert platform.place.ids() == [old.backup_id, newest.backup_id]


@pytest.mark.parametrize("name", ["objects", "backups", "spare"])
def test_nothing_is_removed_where_a_folder_of_the_place_is_a_link(
    platform: Platform, tmp_path: Path, name: str
) -> None:
    platform.register(b"a model")
    platform.back_up()
    platform.place.write_spare({})
    (Path(platform.place.url) / name).rename(tmp_path / "elsewhere")
    (Path(platform.place.url) / name).symlink_to(tmp_path / "elsewhere")
    platform.back_up()
    with pytest.raises(Conflict, match="is a link"):
        thin(platform.place, 1, platform.clock)
    assert len(platform.place.ids()) == 2
