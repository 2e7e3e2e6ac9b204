"""Files that processes left behind go when they are old."""

import os
from pathlib import Path

from loopwright.kernel.removing import remove
from loopwright.store.blobs.local import LocalBlobStore
from loopwright.store.garbage import Freed, sweep_folders
from loopwright.store.garbage.folders import newest_in


def test_old_leftovers_go_and_young_ones_stay(tmp_path: Path) -> None:
    old = {
        "uploads/file": b"half",
        "tmp/tmp_1/rows": b"12",
        "worker/commands/exe_1/rows": b"12345",
        "imports/job_1/raw.parquet": b"123",
        "tmpabcd_123/a": b"1234",
    }
    young = {"uploads/young": b"now", "tmp/young": b"now", "imports/job_2/young": b"now", "tmpabcd_124/young": b"now"}
    for name, body in {**old, **young}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(body)
    for path in tmp_path.rglob("*"):
        if path.name != "young":
            os.utime(path, (1, 1))
    killed = "temporary files of processes that were killed"
    expected = [Freed("uploads that broke off", 1, 4), Freed(killed, 4, 14)]
    assert sweep_folders(tmp_path, 2_000_000, is_plan=True) == expected
    assert all((tmp_path / name).exists() for name in old)
    assert sweep_folders(tmp_path, 2_000_000) == expected
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(young)
    assert sweep_folders(tmp_path, 2_000_000) == []


def test_what_is_kept_to_be_faster_goes_once_nobody_uses_it(tmp_path: Path) -> None:
    copies = LocalBlobStore(str(tmp_path / "blob-copies"))
    old, young = copies.put(b"old"), copies.put(b"young")
    places = {
        "keys/flights/weather": b"12345",
        "keys/flights/young": b"123456",
    }
    for name, body in places.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(body)
    for path in tmp_path.rglob("*"):
        if "young" not in path.name and path.name != young.digest:
            os.utime(path, (1, 1))
    asked = {"unused_before_us": 2_000_000}
    expected = [
        Freed("indexes of keys that no import used", 1, 5),
        Freed("copies of blobs that nobody read", 1, old.size_bytes),
    ]
    assert sweep_folders(tmp_path, 2_000_000) == []
    assert sweep_folders(tmp_path, 2_000_000, **asked, is_plan=True) == expected
    assert copies.has(old.digest)
    assert sweep_folders(tmp_path, 2_000_000, **asked) == expected
    assert [file.name for file in (tmp_path / "keys" / "flights").iterdir()] == ["young"]
    assert (copies.has(old.digest), copies.has(young.digest)) == (False, True)
    assert sweep_folders(tmp_path, 2_000_000, **asked) == []


def test_a_folder_goes_however_deep_it_is_and_what_links_lead_to_stays(tmp_path: Path) -> None:
    """User code digs as deep as it likes: going down by calls ends at a thousand folders, by handles too."""
    kept, scratch = tmp_path / "kept", tmp_path / "scratch"
    (kept / "inside").mkdir(parents=True)
    (kept / "file").write_bytes(b"kept")
    (scratch / "flat" / "empty").mkdir(parents=True)
    home = os.getcwd()
    os.chdir(scratch)
    for _ in range(3000):
        os.mkdir("x")
        os.chdir("x")
        Path("file").write_bytes(b"x")
    os.symlink(kept, "link")
    os.chdir(home)
    (scratch / "link").symlink_to(kept)
    (scratch / "file").write_bytes(b"x")
    handles = len(os.listdir("/proc/self/fd"))
    assert newest_in(scratch) > 0
    remove(scratch)
    assert not scratch.exists()
    assert (kept / "file").read_bytes() == b"kept"
    assert len(os.listdir("/proc/self/fd")) == handles
    link = tmp_path / "link"
    link.symlink_to(kept)
    remove(link)
    remove(tmp_path / "never there")
    assert (link.is_symlink(), (kept / "inside").is_dir()) == (False, True)
