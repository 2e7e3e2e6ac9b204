"""Test names: each room test is called after the source file it tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

from tools.findings import Finding, report

FREE_FOLDERS = {"conformance", "contract", "docs", "flows", "fuzz", "simulation", "tools", "ui"}
FREE_FILES = {"test_architecture.py", "test_package.py"}


def _names(room: Path) -> set[str]:
    """Return what a test of this room may be named after: files and folders, sub-folders joined by ``_``."""
    modules = [path.relative_to(room) for path in room.rglob("*") if path.suffix == ".py" or path.is_dir()]
    return {"_".join(module.with_suffix("").parts) for module in modules if module.stem != "__init__"}


def find(root: Path) -> Iterator[Finding]:
    """Yield each test file that names no source file."""
    tests = root / "tests"
    for path in sorted(tests.rglob("test_*.py")):
        folders = path.relative_to(tests).parent.parts
        if (folders and folders[0] in FREE_FOLDERS) or (not folders and path.name in FREE_FILES):
            continue
        room = Path("src/loopwright").joinpath(*folders)
        name = path.stem.removeprefix("test_")
        if name not in _names(root / room):
            rule = f"no {(room / name).as_posix()}.py"
            do = "name it test_<file>.py or test_<folder>_<file>.py, or put it into tests/flows or tests/contract"
            yield Finding(path.relative_to(root).as_posix(), 1, rule, "a test is found by the file it tests", do)


if __name__ == "__main__":
    sys.exit(report("test names", find))
