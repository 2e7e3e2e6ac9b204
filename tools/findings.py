"""What every check shares: a finding, the files to read, and the report."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SKIPPED_FOLDERS = ("benchmarks/results",)
"""By whole path: a name alone (``templates``, ``build``) would hide a room's folder that bears it."""


@dataclass(frozen=True, order=True)
class Finding:
    """One broken rule: where, which, why it exists and what to do."""

    path: str
    line: int
    rule: str
    why: str
    do: str
    is_warning: bool = False

    def __str__(self) -> str:
        mark = "warning: " if self.is_warning else ""
        return f"{self.path}:{self.line}: {mark}{self.rule}: {self.why}. Do: {self.do}."


def python_files(root: Path, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield each Python file below the folders as its path from the root and its tree."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            place = path.relative_to(root)
            is_hidden = any(part.startswith(".") for part in place.parts[:-1])
            if not is_hidden and not place.as_posix().startswith(tuple(f"{folder}/" for folder in SKIPPED_FOLDERS)):
                yield place.as_posix(), ast.parse(path.read_text("utf-8"), str(path))


def kept_files(root: Path) -> list[Path]:
    """Return the files git keeps or would keep, or every visible file where there is no git."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return sorted(path for name in listed.stdout.split("\0") if name and (path := root / name).is_file())
    hidden = (path.relative_to(root).parts for path in root.rglob("*") if path.is_file())
    return sorted(root.joinpath(*parts) for parts in hidden if not any(part.startswith(".") for part in parts))


def report(name: str, find: Callable[[Path], Iterable[Finding]]) -> int:
    """Print what a check finds under the folder named on the command line, and return the exit status."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    findings = sorted(set(find(root)))
    for finding in findings:
        print(finding)
    errors = sum(not finding.is_warning for finding in findings)
    print(f"{name}: {f'{errors} broken' if errors else 'kept'}")
    return 1 if errors else 0
