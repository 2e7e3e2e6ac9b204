"""Locks agree with pyproject.toml, pin every file by its hash, and name no registry."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.findings import Finding, report
from tools.locks import FOLDER, LOCKS, head, read_pins, requirements

_HOST = re.compile(r"https?://|--(extra-)?index-url|--find-links|--trusted-host| @ ")
_DO = "make lock"


def find(root: Path) -> Iterator[Finding]:
    """Yield each way in which a lock cannot be trusted."""
    for name in LOCKS:
        path = f"{FOLDER}/{name}.txt"
        file = root / path
        if not file.is_file():
            yield Finding(path, 1, "a lock is missing", "what is installed would be whatever is newest that day", _DO)
            continue
        yield from _of_lock(root, name, path, file.read_text("utf-8"))


def _of_lock(root: Path, name: str, path: str, text: str) -> Iterator[Finding]:
    if text.split("\n", 1)[0] != head(root, name):
        yield Finding(path, 1, "not made from this pyproject.toml", "they would install different things", _DO)
    pins = {canonicalize_name(pin.name): pin for pin in read_pins(text)}
    for pin in pins.values():
        if not pin.hashes:
            why = "without one any file of that name would be installed"
            yield Finding(path, pin.line, f"{pin.name} has no hash", why, _DO)
    for wanted in map(Requirement, requirements(root, name)):
        known = pins.get(canonicalize_name(wanted.name))
        if known is None or not wanted.specifier.contains(known.version, prereleases=True):
            at, version = (1, "missing") if known is None else (known.line, known.version)
            why = f"pyproject.toml asks for {wanted.specifier or 'it'}"
            yield Finding(path, at, f"{wanted.name} is {version}", why, _DO)
    for number, line in enumerate(text.splitlines(), start=1):
        if _HOST.search(line):
            why = "each installs from the registry that they have configured; hashes say that the files are the same"
            yield Finding(path, number, "a lock names where files come from", why, "leave it to pip's or uv's settings")


if __name__ == "__main__":
    sys.exit(report("locks", find))
