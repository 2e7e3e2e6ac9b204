"""How much memory there is: a container has less than its machine."""

import os
from pathlib import Path

import pytest

from loopwright.wire.memory import memory_bytes

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("groups", "limits", "least"),
    [
        ("0::/\n", {"memory.max": "50000000\n"}, 50_000_000),
        ("0::/\n", {"memory.max": "max\n"}, MACHINE),
        ("0::/system/worker\n", {"system/memory.max": "4000", "system/worker/memory.max": "max"}, 4000),
        ("9:name=systemd:/\n3:cpu,memory:/docker/x\n0::/\n", {"memory/memory.limit_in_bytes": "7000"}, 7000),
        ("3:memory:/\n", {"memory/memory.limit_in_bytes": str((1 << 63) - 4096)}, MACHINE),
        ("2:cpu:/\n", {"memory.max": "5"}, MACHINE),
        ("", {}, MACHINE),
    ],
)
def test_the_least_limit_around_a_process_counts(
    tmp_path: Path, groups: str, limits: dict[str, str], least: int
) -> None:
    (tmp_path / "own").write_text(groups)
    for name, limit in limits.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit)
    assert memory_bytes(tmp_path / "groups", tmp_path / "own") == least


def test_where_there_are_no_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert memory_bytes(tmp_path, tmp_path / "missing") == MACHINE
