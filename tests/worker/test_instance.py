"""Workers of one state folder have a folder each, and know whose they took over."""

from pathlib import Path

from loopwright.worker.instance import hold_instance


def test_each_worker_has_a_folder_and_learns_who_died_in_it(tmp_path: Path) -> None:
    with hold_instance(tmp_path) as first, hold_instance(tmp_path) as second:
        assert [first.folder.name, second.folder.name] == ["worker", "worker-2"]
        assert first.succeed("wrk_a") == ""
        assert second.succeed("wrk_b") == ""
    with hold_instance(tmp_path) as successor:
        assert successor.folder == first.folder
        assert successor.succeed("wrk_c") == "wrk_a"
        assert successor.succeed("wrk_c") == "wrk_c"
