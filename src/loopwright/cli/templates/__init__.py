"""Project templates of ``loopwright init``."""

import shutil
from pathlib import Path

from loopwright.cli.examples import example_folder
from loopwright.kernel.errors import Conflict

_HERE = Path(__file__).parent


def write_template(folder: Path, name: str) -> list[Path]:
    """Write a template's files into a folder; returns them, the declaration first.

    Raises:
        Conflict: A file of that name is there already; nothing is written.
    """
    if name == "flights":
        source = example_folder()
        wanted = {folder / file: source / file for file in ("flights.py", "ingest.py")}
    else:
        wanted = {folder / "project.py": _HERE / f"{name}.txt"}
    for path in wanted:
        if path.exists():
            raise Conflict("this file exists already; nothing was written", field="folder", value=str(path))
    folder.mkdir(parents=True, exist_ok=True)
    for path, source_file in wanted.items():
        shutil.copy(source_file, path)
    return list(wanted)
