"""Migrations stand in one line: each number once, each after the one before."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.findings import Finding, report

FOLDER = Path("src/loopwright/store/migrations/versions")


def find(root: Path) -> Iterator[Finding]:
    """Yield each migration that does not follow the one before it."""
    before: str | None = None
    for file in sorted((root / FOLDER).glob("[0-9]*.py")):
        told, number = _constants(file), file.name[:4]
        if number == before or told.get("revision") != number or told.get("down_revision") != before:
            rule = f"revision {told.get('revision')} after {told.get('down_revision')}, where {before} was the newest"
            path = (FOLDER / file.name).as_posix()
            yield Finding(
                path, 1, rule, "a database knows one way forward", "number file and revision after the newest"
            )
        before = number


def _constants(file: Path) -> dict[str, object]:
    """Return what a migration assigns at its top, by name."""
    assigned = [node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.Assign)]
    return {
        node.targets[0].id: node.value.value
        for node in assigned
        if isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Constant)
    }


if __name__ == "__main__":
    sys.exit(report("migrations", find))
