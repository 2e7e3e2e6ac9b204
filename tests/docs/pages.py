"""Reading the pages: the fenced blocks under a mark, the files they show, and running what they tell to run."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from loopwright.kernel import plugins

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]+?) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.M | re.S)
_MAIN = "from loopwright.cli import main; main()"


def blocks(page: Path, mark: str) -> list[str]:
    """Return the bodies of the fenced blocks under ``<!-- mark -->``."""
    return [one["body"] for one in _BLOCK.finditer(page.read_text("utf-8")) if one["mark"] == mark]


def runs(page: Path) -> list[tuple[str, str]]:
    """Return kind and body of the blocks under ``<!-- run -->``, in order."""
    return [(one["kind"], one["body"]) for one in _BLOCK.finditer(page.read_text("utf-8")) if one["mark"] == "run"]


def write_files(page: Path, folder: Path) -> list[Path]:
    """Write the files that a page shows under ``<!-- file: name -->``; returns them."""
    written = []
    for one in _BLOCK.finditer(page.read_text("utf-8")):
        if (one["mark"] or "").startswith("file: "):
            place = folder / one["mark"].removeprefix("file: ")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(one["body"], "utf-8")
            written.append(place)
    return written


def run_commands(body: str, folder: Path) -> str:
    """Run each ``loopwright`` line of a shell block in a folder, as it stands; returns what they printed."""
    said = []
    for line in body.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "loopwright", line
        command = [sys.executable, "-c", _MAIN, *words[1:]]
        done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said.append(done.stdout)
    return "".join(said)


def install_plugin(page: Path, folder: Path, patch: pytest.MonkeyPatch) -> Any:
    """Install the package that a page shows, as pip would: its module on the path, its entry points beside it."""
    import tomllib

    write_files(page, folder)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    name = project["name"].replace("-", "_")
    info = folder / f"{name}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{label} = {place}" for label, place in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    patch.syspath_prepend(str(folder))
    plugins._entry_points.cache_clear()
    plugins.load_plugin.cache_clear()
    return import_module(name)


def forget_plugins() -> None:
    """Let the installed plugins be found anew."""
    plugins._entry_points.cache_clear()
    plugins.load_plugin.cache_clear()
