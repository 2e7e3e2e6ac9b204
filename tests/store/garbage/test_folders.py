"""Files that processes left behind go when they are old."""

import os
from pathlib import Path

from loopwright.store.garbage import Freed, sweep_folders


def test_old_leftovers_go_and_young_ones_stay(tmp_path: Path) -> None:
    uploads, children = tmp_path / "uploads", tmp_path / "worker-2" / "children"
    for folder, body in ((uploads, b"half"), (children / "1" / "code", b"code"), (children / "2" / "code", b"in use")):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(body)
    (uploads / "young").write_bytes(b"now")
    for old in (uploads / "file", *(children / "1").rglob("*"), children / "1", children / "2"):
        os.utime(old, (1, 1))
    expected = [Freed("uploads that broke off", 1, 4), Freed("scratch space of workers", 2, 4)]
    assert sweep_folders(tmp_path, 2_000_000, is_plan=True) == expected
    assert (children / "1").exists()
    assert sweep_folders(tmp_path, 2_000_000) == expected
    assert sorted(path.name for path in (*uploads.iterdir(), *children.iterdir())) == ["2", "young"]
    assert sweep_folders(tmp_path, 2_000_000) == []
