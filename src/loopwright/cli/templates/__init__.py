"""Project templates of ``loopwright init``."""

import re
import shutil
from pathlib import Path

from loopwright.cli.examples import example_folder
from loopwright.kernel.errors import Conflict

_HERE = Path(__file__).parent
_UNNAMED = "my-project"
"""What a template calls its project; two people who kept it on one server would declare over each other."""


def write_template(folder: Path, name: str) -> list[Path]:
    """Write a template's files into a folder; returns them, the declaration first.

    Raises:
        Conflict: A file of that name is there already; nothing is written.
    """
    declaration = folder / ("flights.py" if name == "flights" else "project.py")
    if name == "flights":
        source = example_folder()
        wanted = {declaration: source / "flights.py", folder / "ingest.py": source / "ingest.py"}
    else:
        wanted = {declaration: _HERE / f"{name}.txt"}
    for path in wanted:
        if path.exists():
            raise Conflict("this file exists already; nothing was written", field="folder", value=str(path))
    folder.mkdir(parents=True, exist_ok=True)
    for path, source_file in wanted.items():
        shutil.copy(source_file, path)
    if name != "flights":
        text = declaration.read_text("utf-8")
        declaration.write_text(text.replace(_UNNAMED, _name_of(folder)), "utf-8")
    return list(wanted)


def _name_of(folder: Path) -> str:
    """Return what a project in a folder is called: as the folder, in the letters that names may have."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.resolve().name).strip("-.")
    return name[:128] or _UNNAMED
