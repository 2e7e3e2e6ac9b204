"""Lock files: which they are, what each was made from, and what stands in one."""

import re
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

FOLDER = "locks"
LOCKS: dict[str, tuple[str, ...]] = {
    "build": (),
    "uv": (),
    "dev": ("dev",),
    "demo": ("demo",),
    "serve": ("excel", "lightgbm", "onnx", "sklearn"),
}
"""Name of each lock and the extras it holds beside what every installation needs."""
TOOLS = {"build": ("editables>=0.5", "setuptools>=80", "wheel>=0.45"), "uv": ("uv>=0.9",)}
"""What builds this project for an installation that follows its sources, and packages that come as sources alone; and
what installs."""
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
_MADE_FROM = "# made from "


class Pin(NamedTuple):
    """One line of a lock: where, which version, and how many files it may be."""

    line: int
    name: str
    version: str
    hashes: int


def requirements(root: Path, name: str) -> list[str]:
    """Return what a lock is made from, as pyproject.toml has it, extras of our own taken apart."""
    declared = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    if name in TOOLS:
        return sorted([*(declared["build-system"]["requires"] if name == "build" else ()), *TOOLS[name]])
    project = declared["project"]
    found = list(project["dependencies"])
    for extra in LOCKS[name]:
        found += _of_extra(project["optional-dependencies"], extra)
    return sorted(set(found))


def _of_extra(extras: dict[str, list[str]], extra: str) -> Iterator[str]:
    for text in extras[extra]:
        wanted = Requirement(text)
        if wanted.name == "loopwright":
            for inner in sorted(wanted.extras):
                yield from _of_extra(extras, inner)
        else:
            yield text


def head(root: Path, name: str) -> str:
    """Return the first line of a lock that agrees with pyproject.toml."""
    python = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    made_from = "\n".join([python, *requirements(root, name)])
    return f"{_MADE_FROM}{sha256(made_from.encode()).hexdigest()}; make lock writes this file"


def read_pins(text: str) -> Iterator[Pin]:
    """Yield what a lock pins."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _PIN.match(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        match = _PIN.match(lines[start])
        assert match is not None
        yield Pin(start + 1, match[1], match[2], len(_HASH.findall("\n".join(lines[start:end]))))
